#!/usr/bin/env python3
"""Which image size a budget is best spent on: the table of `crates/igpt/src/train/plan/sizing.rs`.

    cargo build --release
    studies/textures.py TEXTURES runs/textures --crops 5000
    studies/sizing.py [--only emoji/16] [--jobs 2]

Each arm trains the network of a rung of the table on so many images, with the augmentation that igpt chooses. The figure is
how far the validation loss is below that of the best model that only counts, on the same images: a larger size is worth its
time from where this is as large as at the smaller one.
"""

import pathlib

from study import Arm, Study

KINDS = {"emoji": "--data emoji", "fashion": "--data fashion-mnist", "textures": "--data runs/textures"}
COLORS = {"emoji": {16: 64, 24: 128, 32: 256}, "fashion": {16: 16, 24: 16, 28: 16}, "textures": {16: 16, 24: 16, 32: 16}}
THOUSANDS = [8, 16, 32, 64]
SHORT = 60
SMALL_STEPS = "--batch 8 --lr 3e-3 --muon-lr 0.02"
QUIET = "--set train.sample_images=0 --set train.probe_images=0 --out {out}"


def arm(kind, side, thousand):
    batch = 8 if thousand < SHORT else max(1, round(4096 / side**2))
    flags = SMALL_STEPS if thousand < SHORT else f"--batch {batch}"
    steps = 1000 * thousand // batch
    size = f"--preset nano --n-px {side} --colors {COLORS[kind][side]}"
    return Arm(f"{kind}/{side}/{thousand}", f"pretrain {KINDS[kind]} {size} --steps {steps} {flags} {QUIET}")


# The dearest last.
arms = sorted(
    (arm(kind, side, thousand) for kind in KINDS for side in COLORS[kind] for thousand in THOUSANDS),
    key=lambda arm: int(arm.name.split("/")[1]) ** 2 * int(arm.name.split("/")[2]),
)

if __name__ == "__main__":
    study = Study(__doc__, pathlib.Path(__file__).parent / "records" / "sizing.json", arms)
    study.run_missing()
    print(f"{'below counting':16}" + "".join(f"{thousand:>10}k" for thousand in THOUSANDS))
    for kind in KINDS:
        for side in COLORS[kind]:
            cells = ""
            for thousand in THOUSANDS:
                found = study.recorded(f"{kind}/{side}/{thousand}")
                text = f"{100 * found['result']['verdict']['below_best_baseline']:.1f} %" if found else "-"
                cells += f"{text:>11}"
            print(f"{kind + ' ' + str(side):16}" + cells)
