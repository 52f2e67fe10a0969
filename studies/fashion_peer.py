"""Image GPT trained on Fashion-MNIST's tokens in PyTorch on a CPU, by the paper's Adam and cosine: how many images, and how
much time, it takes to a loss.

    igpt data tokenize --data fashion-mnist --colors 16 --out tokens
    python studies/fashion_peer.py tokens N_EMBD N_LAYER N_HEAD BATCH IMAGES LR f32|bf16

The loss is that of the first 512 validation images, those of igpt's `--set train.eval_images=512`.
"""

import json
import math
import pathlib
import sys
import time

import numpy as np
import torch
import torch.nn as nn

# The network and its step are those of `igpt bench peers train`.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "crates/igpt-cli/peers"))
from train import ImageGPT, update

SCORED, WARMUP, HEADER = 512, 100, 128

folder = pathlib.Path(sys.argv[1])
n_embd, n_layer, n_head, batch, images = map(int, sys.argv[2:7])
lr, bf16 = float(sys.argv[7]), sys.argv[8] == "bf16"
torch.manual_seed(0)


def split(name):
    """The tokens of a split, (images, T): bytes behind the header of each shard (crates/igpt/src/data/shards/format.rs)."""
    shards = []
    for path in sorted(folder.glob(f"{name}-*.tokens")):
        images, copies, height, width, colors, token_bytes = np.frombuffer(path.read_bytes(), "<u4", 6, offset=20)
        assert copies == token_bytes == 1, "make the tokens without views, of at most 256 colours"
        shape = int(images), int(height * width)
        shards.append(np.frombuffer(path.read_bytes(), np.uint8, shape[0] * shape[1], offset=HEADER).reshape(shape))
    return torch.from_numpy(np.concatenate(shards).astype(np.int64)), int(colors)


(train, COLORS), scored = split("train"), split("validation")[0][:SCORED]

model = ImageGPT(n_embd, n_layer, n_head, train.shape[1], COLORS)
# Drawn as in the official code; the output matrix starts at zero.
nn.init.normal_(model.wte.weight, 0, 0.02)
nn.init.normal_(model.wpe.weight, 0, 0.01)
nn.init.zeros_(model.head.weight)
for block in model.h:
    nn.init.normal_(block.attn.weight, 0, n_embd**-0.5)
    nn.init.normal_(block.proj.weight, 0, (n_embd * n_layer) ** -0.5)
    nn.init.normal_(block.fc.weight, 0, 0.02)
    nn.init.normal_(block.out.weight, 0, 0.02)
optimizer = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.95), fused=True)


def inputs(y):
    return torch.cat([torch.full((len(y), 1), COLORS), y[:, :-1]], 1)


def validation():
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        return np.mean([model(inputs(y), y).item() for y in scored.split(64)])


steps, seconds = images // batch, 0.0
for step in range(steps):
    start = time.perf_counter()
    for group in optimizer.param_groups:
        group["lr"] = lr * min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / steps))
    y = train[torch.randint(0, len(train), (batch,))]
    update(model, model, optimizer, inputs(y), y, bf16)
    seconds += time.perf_counter() - start
    if (step + 1) % max(1, steps // 20) == 0 or step + 1 == steps:
        row = {"images": (step + 1) * batch, "seconds": seconds, "loss": validation()}
        print(json.dumps(row), flush=True)
