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
    "imagenet-flip": "--augment imagenet --flip=true",
    "flip": "--augment none --flip=true",
    "shift-flip": "--augment shift --flip=true",
    "crop-flip": "--augment crop --flip=true",
    "cifar": "--augment cifar",
}
EVERYWHERE = ["none", "shift", "crop", "imagenet"]
# Flips are compared on the small sets of what may be mirrored, most arms on the smallest.
FLIPPED = {"emoji": [200], "fashion": [200]}


def tried(kind, count):
    """The augmentations of a size of set."""
    if (kind, count) == ("emoji", 200):
        return list(ARMS)
    if count > 200:
        return ["none", "shift", "imagenet"] if count == 1000 else ["none", "imagenet"]
    return [*EVERYWHERE, "imagenet-flip"] if count in FLIPPED.get(kind, []) else EVERYWHERE


# The smallest sets first.
arms = [
    Arm(f"{kind}/{counts[i]}/{name}", f"pretrain {data} --set data.train_images={counts[i]} {NETWORK} {BUDGET} {ARMS[name]} {RUN}")
    for i in range(3)
    for kind, (data, counts) in KINDS.items()
    for name in tried(kind, counts[i])
]

if __name__ == "__main__":
    study = Study(__doc__, pathlib.Path(__file__).parent / "records" / "augmentation.json", arms)
    study.run_missing()
    print(f"{'pictures':18}" + "".join(f"{name:>14}" for name in ARMS) + f"{'best step':>12}")
    for kind, (_, counts) in KINDS.items():
        for count in counts:
            found = {name: study.recorded(f"{kind}/{count}/{name}") if name in tried(kind, count) else None for name in ARMS}
            loss = lambda name: f"{found[name]['result']['best_validation_loss']:14.4f}" if found[name] else f"{'-':>14}"
            step = found["none"]["result"]["best_step"] if found["none"] else "-"
            print(f"{kind + ' ' + str(count):18}" + "".join(map(loss, ARMS)) + f"{step:>12}")
