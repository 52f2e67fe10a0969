#!/usr/bin/env python3
"""Runs the arms behind the fine-tuning recipe (docs/recipe.md), and prints their table.

    cargo build --release
    studies/finetuning/finetuning_study.py [--only small/,14/] --jobs 1 --threads 1

small/, 14/, 20/ and emoji/ each pretrain one model and fine-tune it. small/screen/ are short arms of one seed, which differ from
small/screen/base in what their names say; what wins there is tried on the larger model 14/, and its best few with three
seeds. Arms are compared by the accuracy on all validation images; that on the test images stands beside it. What an arm
reached is kept in studies/finetuning/finetuning.json with its command, and not run again; an arm that was interrupted goes
on. --list only prints.
"""

import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from study import STUDENT, Arm, Study  # noqa: E402

SEEDS = 3
FASHION, EMOJI = "--data fashion-mnist --colors 16", "--data emoji --colors 64"
NETWORK = "--set model.n_embd={} --set model.n_layer=4 --set model.n_head={}"
LARGE = NETWORK.format(128, 4)
# Pretraining, and images of a step.
MODELS = {
    "small": (f"{FASHION} --n-px 14 {NETWORK.format(64, 2)} --steps 3000", 20),
    "14": (f"{FASHION} --n-px 14 {LARGE} --epochs 3", 20),
    "20": (f"{FASHION} --n-px 20 {LARGE} --epochs 1", 10),
    "emoji": (f"{EMOJI} --n-px 16 {LARGE} --epochs 20", 16),
}
# The paper's recipe has none of the fine-tuning recipe's settings, so that an arm says all that it is.
RUN = "--recipe paper --optimizer muon --patience 0 --set train.eval_images=0 --precision {} --out {{out}}"
# Muon's and Adam's rates in pretraining, by which all are multiplied.
MUON, ADAM = 0.01, 1.5e-3


def tune(where, steps, rate=1 / 3, schedule="linear", weight=1, more="", warmup=100):
    pretraining, batch = MODELS[where]
    rates = f"--muon-lr {MUON * rate:.2g} --lr {ADAM * rate:.2g}"
    plan = f"--batch {batch} --steps {steps} --set train.warmup_steps={warmup} --set train.eval_every={steps}"
    settings = f"{rates} --set train.schedule={schedule} --generative-weight {weight} {more}".rstrip()
    run = RUN.format("f32" if where == "small" else "bf16")
    return f"finetune --data {pretraining.split()[1]} --model {{{where}/model}} {plan} {settings} {run}"


def pretrain(where):
    pretraining, batch = MODELS[where]
    return Arm(f"{where}/model", f"pretrain {pretraining} --batch {batch} --out {{out}}")


def arm(where, name, *args, **settings):
    return Arm(f"{where}/{name}", tune(where, *args, **settings), (f"{where}/model",))


def screen():
    """Each arm differs from the first in one thing: its rates are a third of pretraining's, its loss is joint."""
    yield pretrain("small")
    for name, settings in {
        "base": {},
        "rate-1": {"rate": 1},
        "classes": {"weight": 0},
        "classes-rate-1": {"weight": 0, "rate": 1},
        "weight-0.3": {"weight": 0.3},
        "layer-decay-0.65-rate-1": {"rate": 1, "more": "--set train.layer_decay=0.65"},
        "layer-3": {"more": "--layer 3"},
        "freeze-1": {"more": "--freeze 1"},
        "constant": {"schedule": "constant"},
        "cosine": {"schedule": "cosine"},
        "head-10": {"more": "--head-lr 10"},
        "head-10-rate-1": {"rate": 1, "more": "--head-lr 10"},
        "head-40": {"more": "--head-lr 40"},
        "smoothing-0.1": {"more": "--label-smoothing 0.1"},
        "constant-ema-0.99": {"schedule": "constant", "more": "--set train.ema=0.99"},
        "rate-2": {"rate": 2},
        "rate-0.1": {"rate": 0.1},
    }.items():
        yield arm("small", f"screen/{name}", 1500, **settings)


def larger():
    """What the screen is held against: the best few on the larger model, then with three seeds on all three models."""
    best = {
        "base": {},
        "rate-1": {"rate": 1},
        "head-10": {"more": "--head-lr 10"},
        "classes": {"weight": 0},
    }
    yield pretrain("14")
    for name, settings in best.items():
        yield arm("14", f"steps-4000/{name}", 4000, **settings)
    defaults = "--data {} --model {{{}/model}} --patience 0 --set train.eval_images=0 --precision bf16 --out {{out}}"
    for where in ("14", "20", "emoji"):
        if where != "14":
            yield pretrain(where)
        for seed in range(SEEDS):
            data = MODELS[where][0].split()[1]
            command = f"finetune {defaults.format(data, where)} --seed {seed}"
            yield Arm(f"{where}/defaults-seed-{seed}", command, (f"{where}/model",))
            for name, settings in best.items():
                more = f"{settings.get('more', '')} --seed {seed}".strip()
                yield arm(where, f"{name}-seed-{seed}", 8100 if where != "emoji" else 1000, **settings | {"more": more})


def few_labels():
    """A linear head, fine-tuning, and the better of both on the validation images, on five subsets of the labels."""
    run = "--set train.eval_images=0 --precision bf16 --out {out}"
    for labels, heads in {25: ("linear", "auto"), 4: ("linear", "auto"), 100: ("auto",), 400: ("auto",)}.items():
        for head in heads:
            for seed in range(5):
                few = f"--labels-per-class {labels} --head {head} --seed {seed}"
                command = f"finetune --data fashion-mnist --model {{14/model}} {few} {run}"
                yield Arm(f"14/few-{labels}/{head}-seed-{seed}", command, ("14/model",))
    probe = "probe --data fashion-mnist --model {14/model} --labels-per-class 4,25,100,400 --seeds 5 --precision bf16"
    yield Arm("14/few/probe", probe, ("14/model",))


def main():
    study = Study(__doc__, pathlib.Path("studies/finetuning/finetuning.json"), [*screen(), *few_labels(), *larger()])
    study.run_missing()
    show(study)


def show(study):
    """Accuracies on validation and test in per cent, arms of several seeds with their mean and its 95 % interval."""
    found = {name: study.recorded(name)["result"] for name in filter(study.recorded, study.chosen)}
    groups = {}
    for name, result in found.items():
        if "best_layer" in result:
            for few in result["few_labels"]:
                print(f"{name}, {few['labels_per_class']} labels a class: {100 * few['mean']:.2f} on test")
        elif result.get("test_accuracy") is not None:
            groups.setdefault(name.rsplit("-seed-", 1)[0], []).append(result)
        else:
            print(f"{name}: {result['validation_loss']:.4f} nats/pixel")
    for name, results in groups.items():
        both = [[100 * result[key] for result in results] for key in ("validation_accuracy", "test_accuracy")]
        print(f"{name:44}", *(reach(values) for values in both), sep="  ")
    for name in study.chosen:
        if not study.recorded(name):
            print(f"{name}: open")


def reach(values):
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {STUDENT[len(values)] * statistics.stdev(values) / len(values) ** 0.5:.2f}"


if __name__ == "__main__":
    main()
