#!/usr/bin/env python3
"""Runs the arms of docs/recipe.md and prints their table: what each part of a recipe is worth in likelihood.

    cargo build --release
    studies/recipe_study.py [--only small/,nano/] [--jobs 2]

What an arm reached is kept in studies/records/recipe.json with its command, and not run again; --list only prints.
"""

import pathlib
import re

from study import Arm, Study, interval

FASHION = "--data fashion-mnist --colors 16"
# A network of 0.26 M parameters, for looking at many recipes; 28×28 pixels of 16 greys as everywhere.
NETWORK = "--set model.n_embd=64 --set model.n_layer=4 --set model.n_head=2"
SMALL = f"{FASHION} {NETWORK}"
NANO = f"{FASHION} --preset nano"
RUN = "--precision f32 --set train.sample_images=0 --out {out}"
ALL = RUN.replace("--out", "--set train.eval_images=512 --out")
# As modern was when these were run, and by the keys of then, so that a change of either does not outdate them: train.optimizer
# and train.muon_lr are train.optimizer.kind and train.optimizer.lr today, which igpt knows.
MODERN = dict(optimizer="muon", init="grid", batch=4, lr=1.5e-3, muon_lr=0.01, schedule="linear", warmup_steps=60)
ADAM = dict(batch=4, lr=1.5e-3, warmup_steps=60)
THREEFOLD = {"by-3": 1 / 3, "1": 1, "times-3": 3}
WIDTHS = {**THREEFOLD, "times-9": 9}
FINE_TUNING = {"by-10": 0.1, **THREEFOLD}


def settings(**values):
    return " ".join(f"--set train.{key}={value}" for key, value in values.items())


def rates(factor, of=MODERN):
    """The learning rates of a recipe times a factor."""
    return {key: of[key] * factor for key in ("lr", "muon_lr") if key in of}


def seeds(count, name, flags):
    for seed in range(count):
        yield Arm(f"{name}-{seed}", f"pretrain {flags} --seed {seed} {ALL}")


def parts():
    """What single parts of the recipe are worth in 800 steps."""
    small = lambda base, **changes: f"{SMALL} --recipe paper {settings(**{'steps': 800, 'eval_every': 200, **base, **changes})}"
    for name, flags, count in [
        ("modern", small(MODERN), 3),
        ("adam", small(ADAM), 3),
        ("init-paper", small(MODERN, init="paper"), 3),
        ("batch-2", small(MODERN, batch=2, steps=1600, warmup_steps=120), 1),
        ("batch-8", small(MODERN, batch=8, steps=400, warmup_steps=30), 1),
        ("rates-times-3", small(MODERN, **rates(3)), 1),
        ("rates-by-3", small(MODERN, **rates(1 / 3)), 1),
        ("adam-rate-times-3", small(ADAM, lr=4.5e-3), 1),
        ("adam-rate-by-3", small(ADAM, lr=5e-4), 1),
        ("muon-lr-0.02", small(MODERN, muon_lr=0.02), 1),
        ("lr-3e-3", small(MODERN, lr=3e-3), 1),
        ("cosine", small(MODERN, schedule="cosine"), 1),
        ("warmup-0", small(MODERN, warmup_steps=0), 1),
        ("warmup-200", small(MODERN, warmup_steps=200), 1),
        ("momentum-0.9", small(MODERN, muon_momentum=0.9), 1),
        ("momentum-0.98", small(MODERN, muon_momentum=0.98), 1),
        ("weight-decay-0.1", small(MODERN, muon_weight_decay=0.1), 1),
        ("beta2-0.99", small(MODERN, beta2=0.99), 1),
        ("no-clipping", small(MODERN, clip=0.0), 1),
        ("ema-0.99", small(MODERN, ema=0.99), 1),
        ("ema-0.999", small(MODERN, ema=0.999), 1),
        ("constant-ema-0.99", small(MODERN, schedule="constant", ema=0.99), 1),
        ("layer-decay-0.8", small(MODERN, layer_decay=0.8), 1),
        ("layer-decay-1.25", small(MODERN, layer_decay=1.25), 1),
        # As if the rate had been found at half the width: Adam's for the output matrix is halved, or for all matrices.
        ("lr-width-32", small(MODERN, mup_base_width=32), 1),
        ("adam-lr-width-32", small(ADAM, mup_base_width=32), 1),
        # For the noise scale in the metrics.
        ("batch-8-groups-8", small(MODERN, batch=8, steps=400, warmup_steps=30, gradient_groups=8), 1),
        # Masked pixels, with the rates of pretraining and others.
        ("masked-adam", f"--objective masked {small(ADAM, lr=4.5e-3)}", 1),
        *((f"masked-rates-{name}", f"--objective masked {small(MODERN, **rates(factor))}", 1) for name, factor in THREEFOLD.items()),
    ]:
        yield from seeds(count, f"small/{name}", flags)


def hour():
    """An hour of Adam and a third of it with modern: minutes on 2 quiet cores of a Zen 1, 0.17 s a step, validations included."""
    long = lambda base, steps, eval_every: f"{SMALL} --recipe paper {settings(steps=steps, eval_every=eval_every, **base)}"
    adam = ADAM | dict(lr=4.5e-3, warmup_steps=200)
    for name, flags, count in [
        ("modern-7", long(MODERN, 2333, 500), 3),
        ("adam-20", long(adam, 7000, 500), 3),
        ("modern-20", long(MODERN, 7000, 500), 3),
        ("adam-60", long(adam, 21000, 1500), 3),
        ("modern-60", long(MODERN, 21000, 1500), 1),
    ]:
        for arm in seeds(count, f"hour/{name}", flags):
            yield arm
            model = f"--model {{{arm.name}}} --data fashion-mnist"
            yield Arm(f"{arm.name}/eval", f"eval {model} --split validation --precision f32", (arm.name,))
            if name.endswith("-20"):
                yield Arm(f"{arm.name}/probe", f"probe {model} --solver ridge --images 5000 --held-out 2000 --out {{out}}", (arm.name,))


def sizes():
    """Rates from a third to nine times as high for networks of three widths, 14×14 pixels, 150 steps of 8 images."""
    budget = dict(batch=8, steps=150, eval_every=150)
    adam = ADAM | dict(lr=3e-3)
    for preset, name, base in [
        *((preset, "rates", MODERN) for preset in ("nano", "tiny", "xs")),
        *((preset, "adam-rate", adam) for preset in ("nano", "tiny")),
        ("tiny", "adam-lr-width-128-rate", adam | dict(mup_base_width=128)),
    ]:
        for factor_name, factor in WIDTHS.items():
            flags = settings(**base | budget | rates(factor, base))
            yield from seeds(1, f"sizes/{preset}/{name}-{factor_name}", f"{FASHION} --n-px 14 --preset {preset} --recipe paper {flags}")


def emoji():
    """Emoji of 32×32 pixels and 64 colours."""
    nano = "--data emoji --n-px 32 --colors 64 --preset nano --recipe paper"
    budget = dict(steps=300, eval_every=60)
    yield from seeds(3, "emoji/modern", f"{nano} {settings(**MODERN, **budget)}")
    yield from seeds(3, "emoji/adam", f"{nano} {settings(**ADAM | dict(lr=4.5e-3), **budget)}")


def finetuning():
    """Muon's and Adam's rates for a classifier on what 2,000 steps at 14×14 had learned, in 300 steps and in five times as many."""
    network = f"{FASHION} {NETWORK} --n-px 14 --recipe paper {settings(**MODERN | dict(batch=20), steps=2000)}"
    yield Arm("classes/pretrain", f"pretrain {network} {RUN}")
    budget = dict(batch=16, steps=300, eval_every=60, warmup_steps=30, schedule="linear")
    long = budget | dict(steps=1500, eval_every=300)
    adam = dict(optimizer="adam", lr=4.5e-3)
    for name, base, budget in [("muon", MODERN, budget), ("adam", adam, budget), ("muon-1500", MODERN, long)]:
        for factor_name, factor in FINE_TUNING.items():
            flags = settings(**base | budget | rates(factor, base) | dict(eval_images=1024))
            finetune = f"finetune --data fashion-mnist --model {{classes/pretrain}} {flags} --head-lr 1 --seed 0 {RUN}"
            yield Arm(f"classes/{name}-rates-{factor_name}-0", finetune, ("classes/pretrain",))


def to_a_loss():
    """The network for which PyTorch with the paper's recipe took 25,040 images to 0.7636: see studies/fashion_peer.py."""
    yield from seeds(3, "nano/modern-1150", f"{NANO} --recipe paper {settings(**MODERN | rates(2), steps=1150, eval_every=230)}")


def arms():
    for part in (parts, hour, sizes, emoji, finetuning, to_a_loss):
        yield from part()


def reached(result):
    """What arms are compared by, and its name."""
    if "best_layer" in result:  # A probe: its layer and strength were chosen on validation.
        return "test_accuracy", result["test_accuracy"]
    for key in ("nats_per_token", "validation_accuracy", "validation_loss"):  # An evaluation, a classifier, a run.
        if result.get(key) is not None:
            return key, result[key]
    raise SystemExit(f"a result without a measure: {result}")


def main():
    study = Study(__doc__, pathlib.Path("studies/records/recipe.json"), arms())
    study.run_missing()
    arms_of = {}
    for name in filter(study.recorded, study.chosen):
        measure, value = reached(study.recorded(name)["result"])
        arms_of.setdefault((re.sub(r"-\d(/|$)", r"\1", name), measure), []).append(value)
    for (name, measure), values in arms_of.items():
        print(f"{name:<40} {measure:<19} {interval(values)}")


if __name__ == "__main__":
    main()
