"""The likelihood of images under image GPT in PyTorch on a CPU, forward only.

Run by `igpt bench peers forward`, or by hand:

    python forward.py N_EMBD N_LAYER N_HEAD N_CTX COLORS BATCH THREADS f32|bf16|f32-compile|bf16-compile
"""

import json
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F

n_embd, n_layer, n_head, n_ctx, colors, batch, threads = map(int, sys.argv[1:8])
mode = sys.argv[8]
torch.set_num_threads(threads)
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


def loss_of(tokens):
    x = wte[tokens] + wpe
    b, t, c = x.shape
    for block in blocks:
        qkv = F.linear(F.rms_norm(x, (c,), block["ln_1"], 1e-5), block["attn"])
        q, k, v = qkv.view(b, t, 3, n_head, c // n_head).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c)
        x = x + F.linear(attended, block["proj"])
        h = F.linear(F.rms_norm(x, (c,), block["ln_2"], 1e-5), block["fc"])
        x = x + F.linear(h * torch.sigmoid(1.702 * h), block["out"])
    logits = F.linear(F.rms_norm(x, (c,), ln_f, 1e-5), head)
    return F.cross_entropy(logits.float().view(-1, colors), tokens.view(-1))


run = torch.compile(loss_of) if "compile" in mode else loss_of
tokens = torch.randint(0, colors, (batch, n_ctx))


@torch.inference_mode()
def forward():
    start = time.perf_counter()
    run(tokens).item()
    return time.perf_counter() - start


forward(), forward()
seconds = statistics.median(forward() for _ in range(5))
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"tokens_per_second": batch * n_ctx / seconds, "step_seconds": seconds, "peak_rss_bytes": rss}))
