#!/usr/bin/env python3
"""Which score tells odd pictures from good ones, as docs/odd-images.md has it: scratches and smears on two textures, digits
among other digits, emoji among those of other categories.

    cargo build --release
    studies/odd_images.py TEXTURES DIGITS [--only brick/0]

TEXTURES is the folder that textures.py wants, DIGITS the picture that classes.py wants (both want NumPy and Pillow). For every
seed and kind a model learns good pictures: 300 of a texture in tiles, 240 digits, half of a category of emoji. Each score is
fitted to them, and judges 200 other good pictures and 200 odd ones (of a category of emoji what there is). Those of the textures
are from a part that shares no pixel with the good ones. The figure is the area under the ROC curve. Seed 0 is there to choose by,
seeds 1 to 3 to report.
"""

import argparse
import json
import pathlib
import shlex
import subprocess
import sys

from study import mean_and_reach

ROOT = pathlib.Path(__file__).parent
SCORES = ["likelihood", "excess", "top", "window", "local-excess", "typical", "features"]
REPORTED = ["likelihood", "window", "typical"]
SEEDS = range(4)
KINDS = {"brick": ["scratch", "smear"], "grass": ["scratch", "smear"], "digits": ["other"], "emoji": ["other"]}
TILES = "--augment tiles --n-px 16 --colors 16 --set model.n_embd=64 --set model.n_layer=4 --set model.n_head=4 --batch 32 --steps 1200"
WHOLE = "--set model.n_embd=96 --set model.n_layer=4 --set model.n_head=3 --batch 16 --steps 600 --set train.probe_images=0"
TRAINING = {
    "brick": TILES,
    "grass": TILES,
    "digits": f"--n-px 20 --colors 16 {WHOLE}",
    "emoji": f"--n-px 16 --colors 64 {WHOLE}",
}


def area(good, odd):
    """Share of pairs in which the odd picture has the higher score."""
    return sum((o > g) + (o == g) / 2 for o in odd for g in good) / (len(good) * len(odd))


class Study:
    def __init__(self, args):
        self.args = args
        self.path = ROOT / "records" / "odd_images.json"
        self.record = json.loads(self.path.read_text()) if self.path.exists() else {}

    def call(self, command):
        command = [self.args.igpt, *shlex.split(command), "--threads", str(self.args.threads), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{shlex.join(command)}\n{done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def pictures(self, kind, seed, defect):
        """The folder of the good, held and odd pictures."""
        if kind in ("brick", "grass"):
            folder = self.args.out / "pictures" / f"{seed}-{defect}"
            made, command = folder / kind, ["textures.py", self.args.textures, folder, "--defect", defect]
        else:
            made = self.args.out / "pictures" / f"{seed}-{kind}"
            command = ["classes.py", kind, *([self.args.digits] if kind == "digits" else []), made]
        if not made.exists():
            subprocess.run([sys.executable, ROOT / command[0], *command[1:], "--seed", str(seed)], check=True)
        return made

    def model(self, kind, seed):
        run = self.args.out / "models" / f"{kind}-{seed}"
        if not (run / "summary.json").exists():
            good = self.pictures(kind, seed, KINDS[kind][0]) / "good"
            begun = (run / "config.resolved.toml").exists()
            more = "--resume" if begun else f"--data {good} {TRAINING[kind]} --seed {seed}"
            self.call(f"pretrain {more} --out {run}")
        return run

    def arm(self, kind, seed, score):
        names = {defect: f"{kind}/{seed}/{defect}/{score}" for defect in KINDS[kind]}
        if all(name in self.record for name in names.values()):
            return
        run = self.model(kind, seed)
        # The good pictures are the same whatever the defect.
        folders = {defect: self.pictures(kind, seed, defect) / "odd" for defect in KINDS[kind]}
        held = self.pictures(kind, seed, KINDS[kind][0]) / "held"
        self.call(f"inspect fit --model {run} --data {held.parent / 'good'} --score {score}")
        paths = " ".join(map(str, [held, *folders.values()]))
        judged = self.call(f"inspect run --model {run} {paths} --out {self.args.out / 'judged'}")["images"]
        of = lambda folder: [image for image in judged if pathlib.Path(image["file"]).is_relative_to(folder)]
        scores = lambda images: [image["score"] for image in images]
        alarms = sum(image["odd"] for image in of(held))
        for defect, name in names.items():
            found = area(scores(of(held)), scores(of(folders[defect])))
            self.record[name] = {"area": found, "false_alarms": alarms, "good": len(of(held))}
            print(f"{name}: {found:.3f}", flush=True)
        self.path.write_text(json.dumps(self.record, indent=1, sort_keys=True) + "\n")


def table(record):
    """Mean of the reported seeds with its 95 % interval, behind it seed 0."""
    cases = [(kind, defect) for kind, defects in KINDS.items() for defect in defects]
    print(f"{'':14}" + "".join(f"{f'{kind}, {defect}':>24}" for kind, defect in cases))
    for score in SCORES:
        cells = ""
        for kind, defect in cases:
            found = [record.get(f"{kind}/{seed}/{defect}/{score}") for seed in SEEDS]
            rest = [arm["area"] for arm in found[1:] if arm]
            text = f"({found[0]['area']:.3f})" if found[0] else "-"
            if len(rest) > 1:
                mean, reach = mean_and_reach(rest)
                text = f"{mean:.3f} ± {reach:.3f} {text}"
            cells += f"{text:>24}"
        print(f"{score:14}" + cells)
    print("false alarms of typical, 5 % asked, in per cent of good pictures of another part of the texture, or others of the class:")
    for kind, defects in KINDS.items():
        found = [record.get(f"{kind}/{seed}/{defects[0]}/typical") for seed in SEEDS]
        print(f"{kind:14}" + ", ".join(f"{100 * arm['false_alarms'] / arm['good']:.1f}" for arm in found if arm))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("textures", type=pathlib.Path)
    parser.add_argument("digits", type=pathlib.Path)
    parser.add_argument("--igpt", default="target/release/igpt")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/odd-images"))
    parser.add_argument("--only", default="", metavar="PREFIX[,PREFIX]", help="arms whose names begin so")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="only print what is recorded")
    args = parser.parse_args()
    study = Study(args)
    for seed in SEEDS:
        for kind in KINDS:
            for score in SCORES if seed == 0 else REPORTED:
                if not args.list and f"{kind}/{seed}".startswith(tuple(args.only.split(","))):
                    study.arm(kind, seed, score)
    table(study.record)
