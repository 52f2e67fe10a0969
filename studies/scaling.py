#!/usr/bin/env python3
"""Predicts a step's time on several computers, and prints the tables of docs/scaling.md. Needs nothing but Python.

    studies/scaling.py                   # from the constants in studies/records/scaling.json
    studies/scaling.py --measure         # measures them on this machine first: target/release/igpt-mpi
    studies/scaling.py --lines           # measures two ranks on lines of 1 and 10 Gbit/s, by studies/two_hosts.sh, as root

The model of a step of N ranks, b images each, is in docs/scaling.md.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

RECORD = pathlib.Path("studies/records/scaling.json")
# n_embd, n_layer, n_head; 512 colours, 32×32 pixels.
PRESETS = {"tiny": (256, 8, 8), "s": (512, 24, 8), "m": (1024, 36, 8), "l": (1536, 48, 16)}
COLORS, POSITIONS = 512, 1024
LINES = {"1 Gbit/s": 1, "10 Gbit/s": 10}
NETWORKS = {"10 Gbit/s": 10, "25 Gbit/s": 25, "100 Gbit/s": 100}
# Ranks and threads of each; preset, images and steps of a run, runs of each kind.
KINDS = {"one process, two threads": (1, 2), "two ranks, a thread each": (2, 1)}
CASES = [("tiny", 8, 7, 3), ("tiny", 128, 3, 1), ("s", 2, 5, 3), ("s", 8, 4, 3), ("s", 128, 2, 1)]
# What a network delivers of its name, and the time of a message: assumptions, those of TCP over Ethernet.
DELIVERED, LATENCY = 0.85, 30e-6
# Of the last micro-batch's time, the part of the backward pass that a sum can go on beside.
OVERLAP = 0.5
# A computer of the tables beside the one measured: a server of 64 cores of its kind.
QUICKER = 32
RANKS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
BATCH = 128


def parameters(preset):
    width, layers, _ = PRESETS[preset]
    return layers * (12 * width * width + 2 * width) + (2 * COLORS + 1 + POSITIONS + 1) * width


def flops(preset):
    """Of an image, forward and backward."""
    width, layers, _ = PRESETS[preset]
    products = 2 * (12 * layers * width * width + COLORS * width)
    attention = 2 * layers * width * POSITIONS
    return 3 * POSITIONS * (products + attention)


def step(ranks, images, size, image, update, bandwidth, latency, micro_batch):
    """Seconds of a step, by part: `images` a rank, `size` parameters, `image` and `update` seconds of each."""
    bits, rounds = 4 * size * (ranks - 1) / ranks, math.log2(ranks)
    total = 2 * bits / bandwidth + 2 * rounds * latency
    hidden = min(total, OVERLAP * image * min(images, micro_batch))
    return {
        "compute": image * images,
        "sum": total - hidden,
        "update": update / ranks,
        "weights": bits / bandwidth + rounds * latency,
        "losses": 2 * rounds * latency,
    }


def run(command, **environment):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def trained(igpt, preset, ranks, threads, batch, steps, out, line=None):
    """Seconds of a step of a real run, the median of its rows; of two ranks on a `line` of so many Gbit/s, if it is given."""
    width, layers, heads = PRESETS[preset]
    command = [igpt, "pretrain", "--data", "emoji", "--n-px", "32", "--optimizer", "adam"]
    command += ["--threads", str(threads), "--batch", str(batch), "--steps", str(steps), "--out", str(out), "--json"]
    for setting in [f"model.n_embd={width}", f"model.n_layer={layers}", f"model.n_head={heads}"]:
        command += ["--set", setting]
    for setting in ["train.sample_images=0", "train.eval_every=0", "train.eval_images=1", "train.checkpoint_every=0"]:
        command += ["--set", setting]
    command += ["--set", f"train.gradient_groups={2 if batch > 1 else 1}"]
    if line:
        command = [str(pathlib.Path(__file__).with_name("two_hosts.sh")), f"{line}gbit", *command]
    elif ranks > 1:
        command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks), *command]
    run(command, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    times = [row["step_ms"] / 1e3 for row in rows if row["split"] == "train"]
    return statistics.median(times[1:])


def measure_images(igpt):
    found = {}
    for preset in ("tiny", "s"):
        width, layers, heads = PRESETS[preset]
        shape = ["--n-embd", str(width), "--n-layer", str(layers), "--n-head", str(heads), "--n-ctx", "1024"]
        bench = [igpt, "bench", "train", *shape, "--batch", "1", "--json"]
        speed = json.loads(run(bench).splitlines()[-1])["tokens_per_second"]
        found[preset] = {"image_s": POSITIONS / speed}
    return found


def measure_ranks(igpt, chosen):
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for preset, batch, steps, rounds in CASES:
            name = f"{preset}, {batch} images"
            if not name.startswith(chosen):
                continue
            times = {kind: [] for kind in KINDS}
            # By turns, so that what else the machine does in a minute hits both.
            for turn in range(rounds):
                for kind, (ranks, threads) in KINDS.items():
                    out = pathlib.Path(folder, f"{preset}-{batch}-{ranks}-{turn}")
                    times[kind].append(trained(igpt, preset, ranks, threads, batch, steps, out))
                    shutil.rmtree(out)
            medians = {kind: statistics.median(seconds) for kind, seconds in times.items()}
            found[name] = {"preset": preset, "batch": batch, **medians}
    return found


def measure_lines(igpt):
    """Two ranks with an image each, where messages count most."""
    with tempfile.TemporaryDirectory() as folder:
        step = lambda preset, steps, line: trained(igpt, preset, 2, 1, 2, steps, pathlib.Path(folder, f"{preset}-{line}"), line)
        lines = {"shared memory": None, **LINES}
        return {
            preset: {name: step(preset, steps, line) for name, line in lines.items()}
            for preset, steps in [("tiny", 10), ("s", 3)]
        }


def seconds(preset, ranks, images, image, gigabits):
    """A step's parts on a network of so many Gbit/s, `image` seconds an image."""
    bandwidth = gigabits / 8 * 1e9 * DELIVERED
    return step(ranks, images, parameters(preset), image, 0.0, bandwidth, LATENCY, 1)


def show(found):
    print("| network | one process, two threads | two ranks, a thread each | speed of these | two ranks by the model |")
    print("|---|---|---|---|---|")
    for name, case in found["ranks"].items():
        one, two = case["one process, two threads"], case["two ranks, a thread each"]
        # A rank has half of the threads.
        image = 2 * found["presets"][case["preset"]]["image_s"]
        model = sum(seconds(case["preset"], 2, case["batch"] // 2, image, 10).values())
        print(f"| {name} | {one:.2f} s a step | {two:.2f} s a step | {one / two:.2f} | {model:.2f} s a step |")
    if "lines" in found:
        # Shared memory counts as a line of 10 Gbit/s.
        print("\n| network, 2 images |", " | ".join(f"{line}: measured, by the model" for line in found["lines"]["tiny"]), "|")
        print("|---|" + "---|" * len(found["lines"]["tiny"]))
    for preset, times in found.get("lines", {}).items():
        image = 2 * found["presets"][preset]["image_s"]
        model = {line: sum(seconds(preset, 2, 1, image, LINES.get(line, 10)).values()) for line in times}
        print(f"| {preset} |", " | ".join(f"{time:.2f} s, {model[line]:.2f} s" for line, time in times.items()), "|")
    own = found["presets"]["s"]["image_s"] / flops("s") / QUICKER
    print("\n| network | size |", " | ".join(map(str, RANKS)), "|\n|---|---|" + "---|" * len(RANKS))
    for network, gigabits in NETWORKS.items():
        for preset in ("s", "m", "l"):
            shares = []
            for ranks in RANKS:
                parts = seconds(preset, ranks, max(1, BATCH // ranks), own * flops(preset), gigabits)
                shares.append(f"{parts['compute'] / sum(parts.values()):.2f}")
            print(f"| {network} | {preset.upper()} |", " | ".join(shares), "|")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--igpt", default="target/release/igpt-mpi")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--cases", default="", metavar="START", help="with --measure only the networks whose names begin so")
    args = parser.parse_args()
    found = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if args.measure:
        found["presets"] = measure_images(args.igpt)
        found["ranks"] = found.get("ranks", {}) | measure_ranks(args.igpt, args.cases)
    if args.lines:
        found["lines"] = measure_lines(args.igpt)
    if args.measure or args.lines:
        RECORD.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


if __name__ == "__main__":
    main()
