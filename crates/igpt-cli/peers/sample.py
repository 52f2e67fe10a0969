"""Sampling from image GPT in PyTorch on a CPU: a preallocated KV cache, one position at a time.

Run by `igpt bench peers sample`, or by hand:

    python sample.py N_EMBD N_LAYER N_HEAD N_CTX COLORS BATCH THREADS f32|bf16|f32-compile|bf16-compile
"""

import json
import resource
import sys
import time

import torch
import torch.nn.functional as F

n_embd, n_layer, n_head, n_ctx, colors, batch, threads = map(int, sys.argv[1:8])
mode = sys.argv[8]
torch.set_num_threads(threads)
torch.manual_seed(0)
dtype = torch.bfloat16 if "bf16" in mode else torch.float32


def weight(*shape):
    return (torch.randn(*shape) * 0.02).to(dtype)


blocks = [
    {
        "attn": weight(3 * n_embd, n_embd),
        "proj": weight(n_embd, n_embd),
        "fc": weight(4 * n_embd, n_embd),
        "out": weight(n_embd, 4 * n_embd),
        "ln_1": torch.ones(n_embd, dtype=dtype),
        "ln_2": torch.ones(n_embd, dtype=dtype),
    }
    for _ in range(n_layer)
]
wte, wpe, head = weight(colors + 1, n_embd), weight(n_ctx, n_embd), weight(colors, n_embd)
ln_f = torch.ones(n_embd, dtype=dtype)
keys = torch.zeros(n_layer, batch, n_head, n_ctx, n_embd // n_head, dtype=dtype)
values = torch.zeros_like(keys)


def mlp(x, block):
    h = F.linear(F.rms_norm(x, (n_embd,), block["ln_2"], 1e-5), block["fc"])
    return x + F.linear(h * torch.sigmoid(1.702 * h), block["out"])


# The attended length changes with every position, so compiling it would compile anew each time.
mlp = torch.compile(mlp) if "compile" in mode else mlp


@torch.inference_mode()
def step(tokens, t):
    x = wte[tokens] + wpe[t]
    for i, block in enumerate(blocks):
        qkv = F.linear(F.rms_norm(x, (n_embd,), block["ln_1"], 1e-5), block["attn"])
        q, k, v = qkv.view(batch, 3, n_head, n_embd // n_head).unbind(1)
        keys[i, :, :, t], values[i, :, :, t] = k, v
        attended = F.scaled_dot_product_attention(q.unsqueeze(2), keys[i, :, :, : t + 1], values[i, :, :, : t + 1])
        x = mlp(x + F.linear(attended.reshape(batch, n_embd), block["proj"]), block)
    p = torch.softmax(F.linear(F.rms_norm(x, (n_embd,), ln_f, 1e-5), head).float(), -1)
    return torch.multinomial(p, 1)[:, 0]


tokens = torch.full((batch,), colors)
warm_up = 8
for t in range(warm_up):
    tokens = step(tokens, t)
start = time.perf_counter()
for t in range(warm_up, n_ctx):
    tokens = step(tokens, t)
seconds = (time.perf_counter() - start) * n_ctx / (n_ctx - warm_up)
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"tokens_per_second": batch * n_ctx / seconds, "step_seconds": seconds, "peak_rss_bytes": rss}))
