"""Optimiser steps of image GPT in PyTorch on a CPU: the strongest plain PyTorch that was found.

Fused attention, bf16 autocast, fused AdamW, RMS norm, quick GELU, optionally torch.compile. Run by
`igpt bench peers train`, or by hand:

    python train.py N_EMBD N_LAYER N_HEAD N_CTX COLORS BATCH THREADS f32|bf16|f32-compile|bf16-compile
"""

import json
import resource
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Norm(nn.Module):
    def __init__(self, n_embd):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-5)


class Block(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.n_head = n_head
        self.ln_1, self.ln_2 = Norm(n_embd), Norm(n_embd)
        self.attn = nn.Linear(n_embd, 3 * n_embd, bias=False)
        self.proj = nn.Linear(n_embd, n_embd, bias=False)
        self.fc = nn.Linear(n_embd, 4 * n_embd, bias=False)
        self.out = nn.Linear(4 * n_embd, n_embd, bias=False)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.attn(self.ln_1(x)).view(b, t, 3, self.n_head, c // self.n_head).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c)
        x = x + self.proj(attended)
        h = self.fc(self.ln_2(x))
        return x + self.out(h * torch.sigmoid(1.702 * h))


class ImageGPT(nn.Module):
    def __init__(self, n_embd, n_layer, n_head, n_ctx, colors):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(colors + 1, n_embd), nn.Embedding(n_ctx, n_embd)
        self.h = nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer))
        self.ln_f, self.head = Norm(n_embd), nn.Linear(n_embd, colors, bias=False)

    def forward(self, x, y):
        """The loss of tokens `y` (B, T) after inputs `x` (B, T), sos first."""
        h = self.wte(x) + self.wpe.weight
        for block in self.h:
            h = block(h)
        logits = self.head(self.ln_f(h))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), y.view(-1))


def update(model, loss_of, optimizer, x, y, bf16):
    """One optimiser step; gives its loss."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        loss = loss_of(x, y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def main():
    n_embd, n_layer, n_head, n_ctx, colors, batch, threads = map(int, sys.argv[1:8])
    mode = sys.argv[8]
    torch.set_num_threads(threads)
    model = ImageGPT(n_embd, n_layer, n_head, n_ctx, colors)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    loss_of = torch.compile(model) if "compile" in mode else model
    tokens = torch.randint(0, colors, (batch, n_ctx))

    def step():
        start = time.perf_counter()
        update(model, loss_of, optimizer, tokens, tokens, "bf16" in mode)
        return time.perf_counter() - start

    step(), step()
    seconds = statistics.median(step() for _ in range(5))
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"tokens_per_second": batch * n_ctx / seconds, "step_seconds": seconds, "peak_rss_bytes": rss}))


if __name__ == "__main__":
    main()
