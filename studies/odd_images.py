#!/usr/bin/env python3
"""Which score tells odd pictures from good ones: scratches and smears on two textures, as docs/odd-images.md has it.

    cargo build --release
    studies/odd_images.py TEXTURES [--only brick/0]

TEXTURES is the folder that textures.py wants (NumPy, Pillow). For every seed and texture a model of tiles learns 300 good
pictures; each score is fitted to them, and judges 200 other good and 200 odd pictures from a part of the texture that shares no
pixel with them. The figure is the area under the ROC curve. Seed 0 is there to choose by, seeds 1 to 3 to report.
"""

import json
import math
import pathlib
import shlex
import statistics
import subprocess
import sys

from study import STUDENT

ROOT = pathlib.Path(__file__).parent
SCORES = ["likelihood", "excess", "top", "window", "local-excess", "typical", "features"]
REPORTED = ["likelihood", "window", "local-excess", "typical"]
TEXTURES, DEFECTS, SEEDS = ["brick", "grass"], ["scratch", "smear"], range(4)
TRAINING = "--augment tiles --n-px 16 --colors 16 --set model.n_embd=64 --set model.n_layer=4 --set model.n_head=4 --batch 32 --steps 1200"


def area(good, odd):
    """Share of pairs in which the odd picture has the higher score."""
    return sum((o > g) + (o == g) / 2 for o in odd for g in good) / (len(good) * len(odd))


class Study:
    def __init__(self, textures, igpt, out, threads):
        self.textures, self.igpt, self.out, self.threads = textures, igpt, out, threads
        self.path = ROOT / "records" / "odd_images.json"
        self.record = json.loads(self.path.read_text()) if self.path.exists() else {}

    def call(self, command):
        command = [self.igpt, *shlex.split(command), "--threads", str(self.threads), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{shlex.join(command)}\n{done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def pictures(self, seed, defect):
        folder = self.out / "pictures" / f"{seed}-{defect}"
        if not folder.exists():
            command = [sys.executable, ROOT / "textures.py", self.textures, folder, "--seed", str(seed), "--defect", defect]
            subprocess.run(command, check=True)
        return folder

    def model(self, texture, seed):
        run = self.out / "models" / f"{texture}-{seed}"
        if not (run / "summary.json").exists():
            good = self.pictures(seed, DEFECTS[0]) / texture / "good"
            more = "--resume" if (run / "config.resolved.toml").exists() else f"--data {good} {TRAINING} --seed {seed}"
            self.call(f"pretrain {more} --out {run}")
        return run

    def arm(self, texture, seed, score):
        names = {defect: f"{texture}/{seed}/{defect}/{score}" for defect in DEFECTS}
        if all(name in self.record for name in names.values()):
            return
        run = self.model(texture, seed)
        # The good pictures are the same whatever the defect.
        folders = {defect: self.pictures(seed, defect) / texture / "odd" for defect in DEFECTS}
        held = self.pictures(seed, DEFECTS[0]) / texture / "held"
        self.call(f"inspect fit --model {run} --data {held.parent / 'good'} --score {score}")
        folder = " ".join(map(str, [held, *folders.values()]))
        judged = self.call(f"inspect run --model {run} {folder} --out {self.out / 'judged'}")["images"]
        of = lambda folder: [image for image in judged if pathlib.Path(image["file"]).is_relative_to(folder)]
        scores = lambda images: [image["score"] for image in images]
        alarms = sum(image["odd"] for image in of(held))
        for defect, name in names.items():
            found = area(scores(of(held)), scores(of(folders[defect])))
            self.record[name] = {"area": found, "false_alarms": alarms, "good": len(of(held))}
            print(f"{name}: {found:.3f}", flush=True)
        self.path.write_text(json.dumps(self.record, indent=1, sort_keys=True) + "\n")


def table(record):
    cases = [(texture, defect) for texture in TEXTURES for defect in DEFECTS]
    print(f"{'':14}" + "".join(f"{f'{defect} on {texture}':>24}" for texture, defect in cases))
    for score in SCORES:
        cells = ""
        for texture, defect in cases:
            first = record.get(f"{texture}/0/{defect}/{score}")
            rest = [record[name]["area"] for seed in SEEDS[1:] if (name := f"{texture}/{seed}/{defect}/{score}") in record]
            text = f"({first['area']:.3f})" if first else "-"
            if len(rest) > 1:
                reach = STUDENT[len(rest)] * statistics.stdev(rest) / math.sqrt(len(rest))
                text = f"{statistics.mean(rest):.3f} ± {reach:.3f} {text}"
            cells += f"{text:>24}"
        print(f"{score:14}" + cells)


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("textures", type=pathlib.Path)
    parser.add_argument("--igpt", default="target/release/igpt")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/odd-images"))
    parser.add_argument("--only", default="", metavar="PREFIX[,PREFIX]", help="arms whose names begin so")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="only print what is recorded")
    args = parser.parse_args()
    study = Study(args.textures, args.igpt, args.out, args.threads)
    for seed in SEEDS:
        for texture in TEXTURES:
            for score in SCORES if seed == 0 else REPORTED:
                if not args.list and f"{texture}/{seed}".startswith(tuple(args.only.split(","))):
                    study.arm(texture, seed, score)
    table(study.record)
