#!/usr/bin/env python3
"""Runs the arms behind EXPERIMENTS.md's comparisons of representations on Fashion-MNIST, and prints their tables.

    cargo build --release
    studies/representation_study.py [--only 14/,headline/] --jobs 1

14/ are short arms at 14×14 pixels: three sizes, autoregressive beside masked, fine-tuning with and without the generative
loss and without pretraining. headline/ are arms of up to an hour: pretraining, its probe, its fine-tuning.
What an arm reached is kept in studies/records/representations.json with its command, and not run again; --list only prints.
"""

import pathlib

from study import Arm, Study

DATA = "--data fashion-mnist --colors 16"
RUN = "--precision f32 --set train.sample_images=0 --out {out}"
NETWORK = "--set model.n_embd={} --set model.n_layer={} --set model.n_head={}"
# Sizes, and their steps of 20 images in about eight minutes on 2 cores of a Zen 3 (AVX2).
SIZES = {
    "small": (NETWORK.format(64, 4, 2), 6500),
    "middle": (NETWORK.format(96, 5, 3), 2900),
    "nano": (NETWORK.format(128, 6, 4), 1500),
}
# In about as long, validations and the test of 10,000 images included.
# The paper's schedule, with one rate for the classifier and the network.
FINETUNE = f"--batch 16 --steps 1400 --set train.schedule=constant --patience 10 --head-lr 1 --set train.eval_every=280 {RUN}"
LABELS = 25
SEEDS = 3


def short():
    pretrain = "pretrain {} --n-px 14 {} --batch 20 --set train.steps={} --set train.probe_images=3000 {}"
    for name, (network, steps) in SIZES.items():
        yield Arm(f"14/{name}", pretrain.format(DATA, network, steps, RUN))
    network, steps = SIZES["nano"]
    yield Arm("14/masked", pretrain.format(DATA, f"{network} --objective masked", steps, RUN))
    for name in (*SIZES, "masked"):
        probe = f"probe --data fashion-mnist --images 5000 --held-out 2000 --model {{14/{name}}} --out {{14/{name}}}/probe"
        few = f" --concat 5 --labels-per-class 4,{LABELS},400 --seeds 5" if name == "nano" else ""
        yield Arm(f"14/{name}/probe", probe + few, (f"14/{name}",))
    # At the rates that the fresh network has; classes alone also at a third of them.
    classes_only = "--generative-weight 0 "
    model = "finetune --data fashion-mnist --model {14/nano} --lr 1.5e-3 --muon-lr 0.01 "
    masked = model.replace("14/nano", "14/masked")
    scratch = f"finetune --from-scratch {DATA} --n-px 14 {network} "
    yield Arm("14/finetune/joint", model + FINETUNE, ("14/nano",))
    yield Arm("14/finetune/classes-only", model + classes_only + FINETUNE, ("14/nano",))
    third = model.replace("--lr 1.5e-3 --muon-lr 0.01", "--lr 5e-4 --muon-lr 0.0033")
    yield Arm("14/finetune/classes-only-third", third + classes_only + FINETUNE, ("14/nano",))
    yield Arm("14/finetune/masked", masked + FINETUNE, ("14/masked",))
    yield Arm("14/finetune/masked-classes-only", masked + classes_only + FINETUNE, ("14/masked",))
    yield Arm("14/finetune/scratch-joint", scratch + FINETUNE)
    yield Arm("14/finetune/scratch-classes-only", scratch + classes_only + FINETUNE)


def headline():
    run = "--precision bf16 --set train.sample_images=0 --out {out}"
    yield Arm("headline/pretrain", f"pretrain --config configs/fashion-mnist-features.toml {run}")
    model, after = "--model {headline/pretrain}", ("headline/pretrain",)
    probe = f"probe --data fashion-mnist --concat 5 --labels-per-class 4,25,400 --precision bf16 {model}"
    yield Arm("headline/probe", probe + " --out {headline/pretrain}/probe", after)
    finetune = f"finetune --config configs/fashion-mnist-finetune.toml --generative-weight 0 {run}"
    # As many images for both; nothing is frozen that began at random.
    longest = "--batch 16 --steps 8900 --set train.eval_every=2225 --layer 3"
    yield Arm("headline/finetune", f"{finetune} {model} {longest} --freeze 1", after)
    network = NETWORK.format(480, 4, 5)
    scratch = f"{finetune} --from-scratch --lr 1.5e-3 --muon-lr 0.01 --colors 16 --n-px 20 {network}"
    yield Arm("headline/scratch", f"{scratch} {longest}")
    few = f"--labels-per-class {LABELS} --steps 240 --set train.eval_every=60 --set train.eval_images=1000"
    for seed in range(SEEDS):
        yield Arm(f"headline/few/scratch-{seed}", f"{scratch} {few} --seed {seed}")


def percent(share):
    return f"{100 * share:.2f} %"


def show(name, entry):
    result = entry["result"]
    if "best_layer" in result:
        low, high = map(percent, result["interval"])
        base = result["baselines"]
        print(f"{name}: layer {result['best_layer']} {percent(result['test_accuracy'])} ({low} to {high})", end="")
        print(f", raw pixels {percent(base['raw_pixels'])}, random weights {percent(base['random_init'])}")
        print("  validation by layer:", *(percent(share) for share in result["validation_accuracy"]))
        if "concat" in result:
            print(f"  layers {result['concat']['layers']}: {percent(result['concat']['test_accuracy'])}")
        for few in result.get("few_labels", ()):
            pixels = few["raw_pixels"]
            print(f"  {few['labels_per_class']} labels a class: {percent(few['mean'])} ± {percent(few['deviation'])}", end="")
            print(f", raw pixels {percent(pixels['mean'])} ± {percent(pixels['deviation'])}")
    elif result.get("test_accuracy") is not None:
        low, high = map(percent, result["interval"])
        print(f"{name}: test {percent(result['test_accuracy'])} ({low} to {high})")
    else:
        print(f"{name}: {result['validation_loss']:.4f} nats/pixel after {result['steps']} steps")
        for row in entry["curve"]:
            print(f"  step {row['step']}: {row['loss']:.4f} nats/pixel", end="")
            print(f", probe {percent(row['probe_accuracy'])}" if "probe_accuracy" in row else "")


def main():
    study = Study(__doc__, pathlib.Path("studies/records/representations.json"), [*short(), *headline()])
    study.run_missing()
    for name in filter(study.recorded, study.chosen):
        show(name, study.recorded(name))


if __name__ == "__main__":
    main()
