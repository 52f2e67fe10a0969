#!/usr/bin/env python3
"""Runs the arms of docs/recipe.md and prints their table. Needs nothing but Python; what is recorded is not run again.

    cargo build --release
    scripts/recipe_study.py [--only PREFIX] [--seeds 3] [--jobs 2]

Arms are counted in steps, not in minutes, so that a busy machine does not change a digit. What an arm reached is kept in
benches/record/recipe.json, with its flags; an arm whose flags have changed is run again. --list only prints the table.
"""

import argparse
import concurrent.futures
import json
import pathlib
import shlex
import statistics
import subprocess

RECORD = pathlib.Path("benches/record/recipe.json")
# Student's t for an interval of 95 % of the mean, by seeds.
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}

# A network of 0.26 M parameters, for looking at many recipes; 28×28 pixels of 16 greys as everywhere.
SMALL = "--data fashion-mnist --colors 16 --set model.n_embd=64 --set model.n_layer=4 --set model.n_head=2"
NANO = "--data fashion-mnist --colors 16 --preset nano"


def settings(**values):
    return " ".join(f"--set train.{key}={value}" for key, value in values.items())


def arms():
    """{name: (flags, seeds)}; the flags of a name's later parts come on top of the recipe's."""
    # As modern was when these were run, so that a change of the recipe does not outdate them.
    modern = dict(optimizer="muon", init="grid", batch=4, lr=1.5e-3, muon_lr=0.01, schedule="linear", warmup_steps=60)
    adam = dict(batch=4, lr=1.5e-3, warmup_steps=60)
    small = lambda base, **changes: f"{SMALL} --recipe paper {settings(**{'steps': 800, 'eval_every': 200, **base, **changes})}"
    rates = lambda factor: dict(lr=1.5e-3 * factor, muon_lr=0.01 * factor)
    return {
        "small/modern": (small(modern), 3),
        "small/adam": (small(adam), 3),
        "small/init-paper": (small(modern, init="paper"), 3),
        "small/batch-2": (small(modern, batch=2, steps=1600, warmup_steps=120), 1),
        "small/batch-8": (small(modern, batch=8, steps=400, warmup_steps=30), 1),
        "small/rates-times-3": (small(modern, **rates(3)), 1),
        "small/rates-by-3": (small(modern, **rates(1 / 3)), 1),
        "small/adam-rate-times-3": (small(adam, lr=4.5e-3), 1),
        "small/adam-rate-by-3": (small(adam, lr=5e-4), 1),
        "small/muon-lr-0.02": (small(modern, muon_lr=0.02), 1),
        "small/lr-3e-3": (small(modern, lr=3e-3), 1),
        "small/cosine": (small(modern, schedule="cosine"), 1),
        "small/heads": (small(modern, muon_heads="true"), 1),
        "small/warmup-0": (small(modern, warmup_steps=0), 1),
        "small/warmup-200": (small(modern, warmup_steps=200), 1),
        "small/momentum-0.9": (small(modern, muon_momentum=0.9), 1),
        "small/momentum-0.98": (small(modern, muon_momentum=0.98), 1),
        "small/weight-decay-0.1": (small(modern, muon_weight_decay=0.1), 1),
        "small/beta2-0.99": (small(modern, beta2=0.99), 1),
        "small/no-clipping": (small(modern, clip=0.0), 1),
        # Minutes on 2 cores of a Zen 4: 0.130 s a step of Adam, 0.134 s of Muon.
        "nano/modern-20": (f"{NANO} --recipe modern --batch 4 {settings(steps=8955)}", 3),
        "nano/adam-60": (f"{NANO} --recipe paper {settings(steps=27692, batch=4, lr=1.5e-3, warmup_steps=200)}", 3),
    }


def run(igpt, out, flags, seed):
    command = [igpt, "pretrain", *shlex.split(flags), "--seed", str(seed), "--threads", "1", "--precision", "f32"]
    command += ["--out", str(out), "--json", "--set", "train.sample_images=0", "--set", "train.eval_images=512"]
    command += ["--resume"] if (out / "config.resolved.toml").exists() else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    rows = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    summary = json.loads(done.stdout.splitlines()[-1])
    curve = [[row["step"], round(row["loss"], 5)] for row in rows if row["split"] == "validation"]
    return {"flags": flags, "loss": summary["validation_loss"], "curve": curve}


def table(record, names):
    for name, (_, seeds) in names.items():
        losses = [record[key]["loss"] for key in (f"{name}-{seed}" for seed in range(seeds)) if key in record]
        if losses:
            spread = STUDENT[len(losses)] * statistics.stdev(losses) / len(losses) ** 0.5 if len(losses) > 1 else None
            print(f"{name:<28} {statistics.mean(losses):.4f}" + (f" ± {spread:.4f} ({len(losses)} seeds)" if spread else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--igpt", default="target/release/igpt")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/recipe"))
    parser.add_argument("--only", default="small/", metavar="PREFIX")
    parser.add_argument("--seeds", type=int, default=5, help="at most so many seeds of an arm")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, one thread each")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    chosen = {name: arm for name, arm in arms().items() if name.startswith(args.only)}
    keys = [(f"{name}-{seed}", flags, seed) for name, (flags, seeds) in chosen.items() for seed in range(min(seeds, args.seeds))]
    missing = [] if args.list else [key for key in keys if record.get(key[0], {}).get("flags") != key[1]]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        waiting = {pool.submit(run, args.igpt, args.out / key, flags, seed): key for key, flags, seed in missing}
        for done in concurrent.futures.as_completed(waiting):
            record[waiting[done]] = done.result()
            print(f"{waiting[done]}: {done.result()['loss']:.4f}", flush=True)
            RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    table(record, chosen)


if __name__ == "__main__":
    main()
