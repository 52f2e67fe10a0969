#!/usr/bin/env python3
"""What it is worth to go on from the weights of a model instead of fresh ones, as docs/small-sets.md has it.

    cargo build --release
    studies/textures.py TEXTURES runs/textures --crops 5000
    studies/going_on.py [--jobs 2]

The source has learned Fashion-MNIST; 300 and 2,000 pictures of two other kinds are then learned from it and from fresh
weights, in equally many steps. The figure is the lowest validation loss.
"""

import pathlib

from study import Arm, Study

NETWORK = "--n-px 16 --set model.n_embd=96 --set model.n_layer=4 --set model.n_head=3"
QUIET = "--set train.sample_images=0 --set train.probe_images=0 --precision f32 --out {out}"
BUDGET = "--steps 500 --batch 16 --set train.eval_every=25 --set train.eval_images=256 --patience 0 --augment shift"
KINDS = {"emoji": "--data emoji --colors 64", "textures": "--data runs/textures --colors 16"}
COUNTS = [300, 2000]
STARTS = {"fresh": NETWORK, "going-on": "--model {source}"}

arms = [Arm("source", f"pretrain --data fashion-mnist --colors 16 {NETWORK} --steps 2000 --batch 16 {QUIET}")] + [
    Arm(
        f"{kind}/{count}/{start}",
        f"pretrain {data} --set data.train_images={count} {flags} {BUDGET} {QUIET}",
        ("source",) if start == "going-on" else (),
    )
    for kind, data in KINDS.items()
    for count in COUNTS
    for start, flags in STARTS.items()
]

if __name__ == "__main__":
    study = Study(__doc__, pathlib.Path(__file__).parent / "records" / "going_on.json", arms)
    study.run_missing()
    print(f"{'pictures':16}" + "".join(f"{start:>24}" for start in STARTS))
    for kind in KINDS:
        for count in COUNTS:
            cells = ""
            for start in STARTS:
                found = study.recorded(f"{kind}/{count}/{start}")
                result = found["result"] if found else None
                text = f"{result['best_validation_loss']:.4f} at {result['best_step']}" if result else "-"
                cells += f"{text:>24}"
            print(f"{kind + ' ' + str(count):16}" + cells)
