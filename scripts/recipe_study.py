#!/usr/bin/env python3
"""Runs the arms of docs/recipe.md and prints their table. Needs nothing but Python; what has run is not run again.

    cargo build --release
    scripts/recipe_study.py --out runs/recipe [--only PREFIX] [--seeds 3]

Arms are counted in steps, not in minutes, so that a busy machine does not change a digit; `SECONDS` is what a step
takes on a quiet one, by which arms have equal time.
"""

import argparse
import json
import pathlib
import statistics
import subprocess

# Seconds of a step of nano at 28×28 on 2 cores of an AMD EPYC (Zen 4), by (optimizer, batch).
SECONDS = {
    ("adam", 4): 0.130, ("adam", 16): 0.457, ("adam", 128): 3.66,
    ("muon", 2): 0.075, ("muon", 4): 0.134, ("muon", 8): 0.246, ("muon", 16): 0.474,
}
# Student's t for an interval of 95 % of the mean, by seeds.
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}

FASHION = "--data fashion-mnist --preset nano --colors 16"


def steps(minutes, optimizer="muon", batch=4):
    return round(60 * minutes / SECONDS[optimizer, batch])


def arms():
    """{name: (flags, seeds)}."""
    modern, paper = f"{FASHION} --recipe modern", f"{FASHION} --recipe paper"
    small = f"{paper} --batch 4 --lr 1.5e-3 --set train.warmup_steps=200"
    found = {
        "headline/modern-20": (f"{modern} --steps {steps(20)}", 3),
        "headline/modern-60": (f"{modern} --steps {steps(60)}", 1),
        "headline/paper-60": (f"{paper} --steps {steps(60, 'adam', 128)}", 3),
        "headline/adam-batch-4-60": (f"{small} --steps {steps(60, 'adam')}", 1),
    }
    return found


def run(igpt, out, flags, seed):
    summary = out / "summary.json"
    if not summary.exists():
        command = [igpt, "pretrain", *flags.split(), "--seed", str(seed), "--out", str(out), "--json"]
        command += ["--set", "train.sample_images=0", "--set", "train.eval_images=0"]
        command += ["--resume"] if (out / "config.resolved.toml").exists() else []
        print("+", *command, flush=True)
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        summary.write_text(done.stdout.splitlines()[-1] + "\n")
    return json.loads(summary.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--igpt", default="target/release/igpt")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/recipe"))
    parser.add_argument("--only", default="", metavar="PREFIX")
    parser.add_argument("--seeds", type=int, default=5, help="at most so many seeds of an arm")
    args = parser.parse_args()
    for name, (flags, seeds) in arms().items():
        if name.startswith(args.only):
            runs = [run(args.igpt, args.out / f"{name}-{seed}", flags, seed) for seed in range(min(seeds, args.seeds))]
            losses = [run["validation_loss"] for run in runs]
            spread = STUDENT[len(losses)] * statistics.stdev(losses) / len(losses) ** 0.5 if len(losses) > 1 else None
            print(f"{name:<36} {statistics.mean(losses):.4f}" + (f" ± {spread:.4f}" if spread else ""), flush=True)


if __name__ == "__main__":
    main()
