#!/usr/bin/env python3
"""Speed of the Python package beside the program, by turns: a step of training, samples, features, likelihoods.

    python studies/python_speed.py      # where the package is installed; the program is target/release/igpt

Both compute with the same engine, so what is measured is what the package adds: arrays into images and back. The record
is studies/records/python_speed.json.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time

import igpt

RECORD = pathlib.Path("studies/records/python_speed.json")
STEPS, SAMPLES, TURNS = 40, 64, 5
QUIET = {"train.eval_images": 64, "train.sample_images": 0, "train.probe_images": 0, "data.augment": "none"}


def median_step(run):
    """Median milliseconds of a step, without the first ones."""
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return statistics.median([row["step_ms"] for row in rows if row["split"] == "train"][3:])


def milliseconds(work):
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


class Sides:
    """What is measured, by the program and by the package."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.runs = binary, folder, 0
        self.path = folder / "model"
        igpt.load().save(self.path)
        self.model = igpt.load(self.path)
        self.images, _, _ = igpt.data.load("emoji", "train")

    def program(self, *args):
        done = subprocess.run([self.binary, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return done.stdout.splitlines()

    def run_directory(self):
        self.runs += 1
        return self.folder / f"run-{self.runs}"

    def training_program(self):
        out = self.run_directory()
        sets = [part for key, value in QUIET.items() for part in ("--set", f"{key}={value}")]
        self.program("pretrain", "--data", "emoji", "--n-px", 16, "--colors", 64, "--steps", STEPS, *sets, "--out", out)
        return median_step(out)

    def training_package(self):
        out = self.run_directory()
        igpt.pretrain("emoji", out, n_px=16, colors=64, steps=STEPS, progress=False, settings=QUIET)
        return median_step(out)

    def sampling_program(self):
        out = self.folder / "samples.png"
        return milliseconds(lambda: self.program("sample", "--model", self.path, "--images", SAMPLES, "--out", out))

    def sampling_package(self):
        return milliseconds(lambda: igpt.load(self.path).sample(SAMPLES))

    def seconds_of(self, verb, *more):
        line = self.program(verb, "--model", self.path, "--data", "emoji", "--split", "train", *more, "--json")[-1]
        return 1000 * json.loads(line)["seconds"]

    def features_program(self):
        return self.seconds_of("embed", "--layers", "all", "--out", self.folder / "features.npy")

    def features_package(self):
        return milliseconds(lambda: self.model.features(self.images))

    def likelihood_program(self):
        return self.seconds_of("eval")

    def likelihood_package(self):
        return milliseconds(lambda: self.model.log_likelihood(self.images))


CASES = {
    "training": f"a step of training, nano, 16 × 16 pixels (median of {STEPS})",
    "sampling": f"{SAMPLES} samples, loading included",
    "features": "features of all layers of the emoji training images",
    "likelihood": "log-likelihood of the emoji training images",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--igpt", default=os.path.abspath("target/release/igpt"))
    args = parser.parse_args()
    record = {"machine": f"{os.cpu_count()} cores, {platform.machine()}", "turns": TURNS, "milliseconds": {}}
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(args.igpt, pathlib.Path(folder))
        for case, words in CASES.items():
            pairs = [[getattr(sides, f"{case}_{side}")() for side in ("program", "package")] for _ in range(TURNS)]
            program, package = (statistics.median(side) for side in zip(*pairs))
            ratio = statistics.median(package / program for program, package in pairs)
            record["milliseconds"][case] = {"program": program, "package": package, "ratio": ratio, "pairs": pairs}
            print(f"{words}: program {program:,.1f} ms, package {package:,.1f} ms, ratio {ratio:.3f}", flush=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
