"""Image GPT trained on Fashion-MNIST (28×28, 16 greys) in PyTorch on a CPU, by the paper's Adam and cosine: how many
images, and how many minutes, it takes to a loss.

    python fashion.py IDX_DIR N_EMBD N_LAYER N_HEAD BATCH IMAGES LR f32|bf16

IDX_DIR holds train-images-idx3-ubyte.gz. The last 6,000 images are set apart, the loss is that of the first 512 of
them. Greys are k-means' of the training pixels.
"""

import gzip
import json
import math
import pathlib
import sys
import time

import numpy as np
import torch
import torch.nn as nn
from sklearn.cluster import KMeans
from train import ImageGPT, update

COLORS, HELD_OUT, SCORED, WARMUP = 16, 6000, 512, 100

folder = pathlib.Path(sys.argv[1])
n_embd, n_layer, n_head, batch, images = map(int, sys.argv[2:7])
lr, bf16 = float(sys.argv[7]), sys.argv[8] == "bf16"
torch.manual_seed(0)

pixels = np.frombuffer(gzip.open(folder / "train-images-idx3-ubyte.gz").read(), np.uint8, offset=16).reshape(-1, 784)
counts = np.bincount(pixels[:-HELD_OUT].ravel(), minlength=256)
greys = KMeans(COLORS, n_init=3, random_state=0).fit(np.arange(256)[:, None], sample_weight=counts).cluster_centers_[:, 0]
nearest = np.abs(np.arange(256)[:, None] - np.sort(greys)).argmin(1)
tokens = torch.from_numpy(nearest[pixels])
train, scored = tokens[:-HELD_OUT], tokens[-HELD_OUT:][:SCORED]

model = ImageGPT(n_embd, n_layer, n_head, 784, COLORS)
# The paper's code: embeddings and matrices drawn as here, the output matrix zero.
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
