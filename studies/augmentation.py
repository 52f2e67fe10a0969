#!/usr/bin/env python3
"""What augmentation is worth by the size of a set: 200, 1000 and 5000 pictures of three kinds, as docs/recipe.md has it.

    cargo build --release
    studies/textures.py TEXTURES runs/textures --crops 5000
    studies/augmentation.py [--only emoji/200] [--jobs 2]

Each arm trains the same network for the same 16,000 images and keeps its best weights; the figure is their validation loss.
"""

import pathlib

from study import Arm, Study

NETWORK = "--n-px 16 --set model.n_embd=96 --set model.n_layer=4 --set model.n_head=3"
BUDGET = "--steps 1000 --batch 16 --set train.eval_every=50 --set train.eval_images=256 --patience 0"
RUN = "--set train.sample_images=0 --set train.probe_images=0 --precision f32 --out {out}"
KINDS = {
    "emoji": ("--data emoji --colors 64", [200, 1000, 3028]),
    "fashion": ("--data fashion-mnist --colors 16", [200, 1000, 5000]),
    "textures": ("--data runs/textures --colors 16", [200, 1000, 5000]),
}
ARMS = {
    "none": "--augment none",
    "shift": "--augment shift",
    "crop": "--augment crop",
    "imagenet": "--augment imagenet",
    "flip": "--augment none --flip=true",
    "shift-flip": "--augment shift --flip=true",
    "crop-flip": "--augment crop --flip=true",
    "cifar": "--augment cifar",
}

arms = [
    Arm(f"{kind}/{count}/{name}", f"pretrain {data} --set data.train_images={count} {NETWORK} {BUDGET} {flags} {RUN}")
    for kind, (data, counts) in KINDS.items()
    for count in counts
    for name, flags in ARMS.items()
]

if __name__ == "__main__":
    study = Study(__doc__, pathlib.Path(__file__).parent / "records" / "augmentation.json", arms)
    study.run_missing()
    print(f"{'pictures':18}" + "".join(f"{name:>12}" for name in ARMS) + f"{'best step':>12}")
    for kind, (_, counts) in KINDS.items():
        for count in counts:
            found = {name: study.recorded(f"{kind}/{count}/{name}") for name in ARMS}
            loss = lambda name: f"{found[name]['result']['best_validation_loss']:12.4f}" if found[name] else f"{'-':>12}"
            step = found["none"]["result"]["best_step"] if found["none"] else "-"
            print(f"{kind + ' ' + str(count):18}" + "".join(map(loss, ARMS)) + f"{step:>12}")
