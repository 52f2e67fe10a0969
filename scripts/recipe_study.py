#!/usr/bin/env python3
"""Runs the arms of docs/recipe.md and prints their table: what each part of a recipe is worth in likelihood.

    cargo build --release
    scripts/recipe_study.py [--only small/,nano/] [--jobs 2]

What an arm reached is kept in benches/record/recipe.json with its command, and not run again; --list only prints.
"""

import pathlib
import re

from study import Arm, Study, interval

# A network of 0.26 M parameters, for looking at many recipes; 28×28 pixels of 16 greys as everywhere.
SMALL = "--data fashion-mnist --colors 16 --set model.n_embd=64 --set model.n_layer=4 --set model.n_head=2"
NANO = "--data fashion-mnist --colors 16 --preset nano"
ALL = "--precision f32 --set train.sample_images=0 --set train.eval_images=512 --out {out}"


def settings(**values):
    return " ".join(f"--set train.{key}={value}" for key, value in values.items())


def arms():
    # As modern was when these were run, so that a change of the recipe does not outdate them.
    modern = dict(optimizer="muon", init="grid", batch=4, lr=1.5e-3, muon_lr=0.01, schedule="linear", warmup_steps=60)
    adam = dict(batch=4, lr=1.5e-3, warmup_steps=60)
    small = lambda base, **changes: f"{SMALL} --recipe paper {settings(**{'steps': 800, 'eval_every': 200, **base, **changes})}"
    rates = lambda factor: dict(lr=1.5e-3 * factor, muon_lr=0.01 * factor)
    for name, flags, seeds in [
        ("small/modern", small(modern), 3),
        ("small/adam", small(adam), 3),
        ("small/init-paper", small(modern, init="paper"), 3),
        ("small/batch-2", small(modern, batch=2, steps=1600, warmup_steps=120), 1),
        ("small/batch-8", small(modern, batch=8, steps=400, warmup_steps=30), 1),
        ("small/rates-times-3", small(modern, **rates(3)), 1),
        ("small/rates-by-3", small(modern, **rates(1 / 3)), 1),
        ("small/adam-rate-times-3", small(adam, lr=4.5e-3), 1),
        ("small/adam-rate-by-3", small(adam, lr=5e-4), 1),
        ("small/muon-lr-0.02", small(modern, muon_lr=0.02), 1),
        ("small/lr-3e-3", small(modern, lr=3e-3), 1),
        ("small/cosine", small(modern, schedule="cosine"), 1),
        ("small/heads", small(modern, muon_heads="true"), 1),
        ("small/warmup-0", small(modern, warmup_steps=0), 1),
        ("small/warmup-200", small(modern, warmup_steps=200), 1),
        ("small/momentum-0.9", small(modern, muon_momentum=0.9), 1),
        ("small/momentum-0.98", small(modern, muon_momentum=0.98), 1),
        ("small/weight-decay-0.1", small(modern, muon_weight_decay=0.1), 1),
        ("small/beta2-0.99", small(modern, beta2=0.99), 1),
        ("small/no-clipping", small(modern, clip=0.0), 1),
        ("small/ema-0.99", small(modern, ema=0.99), 1),
        ("small/ema-0.999", small(modern, ema=0.999), 1),
        ("small/constant-ema-0.99", small(modern, schedule="constant", ema=0.99), 1),
        ("small/layer-decay-0.8", small(modern, layer_decay=0.8), 1),
        ("small/layer-decay-1.25", small(modern, layer_decay=1.25), 1),
        ("small/zero-projections", small(modern, zero_projections="true"), 1),
        ("small/adam-zero-projections", small(adam, zero_projections="true"), 1),
        # As if the rate had been found at half the width: Adam's for the output matrix is halved, or for all matrices.
        ("small/lr-width-32", small(modern, lr_width=32), 1),
        ("small/adam-lr-width-32", small(adam, lr_width=32), 1),
        # As many images as 800 steps of 4.
        ("small/batch-2-to-8", small(modern, batch=2, batch_end=8, steps=686, warmup_steps=100), 1),
        ("small/batch-1-to-16", small(modern, batch=1, batch_end=16, steps=516, warmup_steps=120), 1),
        ("small/constant-batch-2-to-16", small(modern, schedule="constant", batch=2, batch_end=16, steps=427, warmup_steps=60), 1),
        # For the noise scale in the metrics.
        ("small/batch-8-groups-8", small(modern, batch=8, steps=400, warmup_steps=30, gradient_groups=8), 1),
        # Minutes on 2 quiet cores of a Zen 1, AVX2: 0.17 s a step, validations included.
        ("hour/modern-7", small(modern, steps=2333, eval_every=500), 3),
        ("hour/adam-20", small(adam, steps=7000, eval_every=500, lr=4.5e-3, warmup_steps=200), 3),
        ("hour/modern-20", small(modern, steps=7000, eval_every=500), 3),
        ("hour/adam-60", small(adam, steps=21000, eval_every=1500, lr=4.5e-3, warmup_steps=200), 3),
        ("hour/modern-60", small(modern, steps=21000, eval_every=1500), 1),
        # Minutes on 2 cores of a Zen 4: 0.130 s a step of Adam, 0.134 s of Muon.
        ("nano/modern-20", f"{NANO} --recipe modern --batch 4 {settings(steps=8955)}", 3),
        ("nano/adam-60", f"{NANO} --recipe paper {settings(steps=27692, batch=4, lr=1.5e-3, warmup_steps=200)}", 3),
    ]:
        yield from (Arm(f"{name}-{seed}", f"pretrain {flags} --seed {seed} {ALL}") for seed in range(seeds))


def main():
    study = Study(__doc__, pathlib.Path("benches/record/recipe.json"), arms())
    study.run_missing()
    seeds = {}
    for name in filter(study.recorded, study.chosen):
        seeds.setdefault(re.sub(r"-\d$", "", name), []).append(study.recorded(name)["result"]["validation_loss"])
    for name, losses in seeds.items():
        print(f"{name:<28} {interval(losses)}")


if __name__ == "__main__":
    main()
