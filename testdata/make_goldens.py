"""Writes testdata/goldens/*.json: what tiny models must compute, for igpt::testing::conformance::goldens.

Run from the project's root: python testdata/make_goldens.py (packages: scripts/requirements.txt).

The oracle is the official mathematics (openai/image-gpt, src/model.py) written out in PyTorch below, in f64, with
f32 weights. Its logits are checked here against transformers' ImageGPTForCausalImageModeling fed with sos and
then the image without its last token.

Weights and tokens are not stored but made by a counter-based formula in 32-bit integers, the same in Rust:

    mix(x):      x ^= x >> 16; x *= 0x7feb352d; x ^= x >> 15; x *= 0x846ca68b; x ^= x >> 16
    hash(n, i) = mix(mix(fnv1a32(n)) + i)                      n: the tensor's name in UTF-8
    unit(n, i) = (hash(n, i) >> 8) / 2^23 - 1                  in [-1, 1), exact in f32
    weight     = scale * unit(name, i)   or 1 + scale * unit(name, i) for norm gains
    token      = hash("tokens", i) mod n_vocab

Files muon_*.json hold three steps of Muon, with q, k and v orthogonalised as three matrices. They are written out in
f64 as well; a step of torch.optim.Muon, which rounds to bf16, is compared with ours here.

Files fine_*.json hold losses and gradients of the masked objective and of joint training with a classifier:

    masked     = hash("masks", i) mod 100 < 15             for token i of the batch
    label      = hash("labels", i) mod num_labels          of image i

Masked inputs have no sos, no shift and no causal mask, and the token embeddings of masked positions are zeroed; the loss
of an image is the mean over its masked positions, written times its number of tokens (openai/image-gpt, src/model.py).

A tensor is stored as its L2 norm, its sum with the signs of the lowest bit of hash("signs", i) (a 0 bit is +, so
every element counts), and 64 entries: entry k lies at hash("entries", k) mod length (a tensor of at most 64 values
is stored whole).
"""

import json
import math
import pathlib

import numpy as np
import torch
from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling

OUT = pathlib.Path(__file__).parent / "goldens"
ENTRIES = 64

# name: height, width, n_vocab, n_embd, n_layer, n_head, n_inner, biases, images
CASES = {
    "head8": (8, 8, 16, 32, 2, 4, 128, False, 3),
    "head16_biases": (8, 12, 61, 48, 2, 3, 192, True, 2),
    "head24_odd": (9, 17, 61, 72, 2, 3, 288, False, 2),
    "head32": (10, 8, 100, 64, 3, 2, 256, False, 2),
    "head64_biases": (12, 8, 33, 128, 2, 2, 512, True, 2),
    "head64_long": (16, 16, 512, 64, 1, 1, 100, True, 1),
}

# name: case, masked inputs, layer of the classifier (None: no classifier), weight of the generative loss
FINE_CASES = {
    "masked": ("head8", True, None, 1.0),
    "joint": ("head16_biases", False, 2, 1.0),
    "joint_middle": ("head24_odd", False, 1, 0.5),
    "joint_masked": ("head24_odd", True, 2, 2.0),
}
NUM_LABELS = 5

# Cases that are also trained with Muon.
MUON_CASES = ["head16_biases", "head24_odd", "head64_long"]
MUON = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1}


def mix(x):
    x = x.astype(np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def hashes(name, count):
    fnv = 0x811C9DC5
    for byte in name.encode():
        fnv = (fnv ^ byte) * 0x01000193 % 2**32
    key = mix(np.array([fnv]))
    return mix(key + np.arange(count, dtype=np.uint32))


def unit(name, count):
    return (hashes(name, count) >> np.uint32(8)).astype(np.float32) / np.float32(2**23) - np.float32(1)


def parameters(case):
    """name -> (shape, scale); all scales are powers of two."""
    height, width, n_vocab, c, n_layer, _, n_inner, biases, _ = case
    power = lambda fan_in: 2.0 ** -round(math.log2(fan_in) / 2 - 0.5)
    shapes = {
        "transformer.wte.weight": ((n_vocab + 1, c), 0.5),
        "transformer.wpe.weight": ((height * width, c), 0.25),
    }
    for i in range(n_layer):
        h = f"transformer.h.{i}."
        for name, rows, cols in [
            ("attn.c_attn", c, 3 * c),
            ("attn.c_proj", c, c),
            ("mlp.c_fc", c, n_inner),
            ("mlp.c_proj", n_inner, c),
        ]:
            shapes[h + name + ".weight"] = ((rows, cols), power(rows))
            if biases:
                shapes[h + name + ".bias"] = ((cols,), 0.125)
        shapes[h + "ln_1.weight"] = ((c,), 0.25)
        shapes[h + "ln_2.weight"] = ((c,), 0.25)
    shapes["transformer.ln_f.weight"] = ((c,), 0.25)
    shapes["lm_head.weight"] = ((n_vocab, c), power(c))
    return shapes


def make(name, shape, scale):
    values = np.float32(scale) * unit(name, math.prod(shape))
    if ".ln_" in name:
        values = np.float32(1) + values
    return torch.from_numpy(values.reshape(shape))


def norm(x, gain):
    return gain * x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5)


def forward(p, case, tokens, masked=None):
    """Logits (B, T, V), and the features of every layer (B, L + 1, C). With `masked` (B, T) as BERT sees them."""
    _, _, n_vocab, c, n_layer, n_head, _, biases, _ = case
    b, t = tokens.shape

    def product(x, name):
        y = x @ p[name + ".weight"]
        return y + p[name + ".bias"] if biases else y

    sos = torch.full((b, 1), n_vocab)
    mask = torch.tril(torch.ones(t, t, dtype=torch.bool))
    if masked is None:
        x = p["transformer.wte.weight"][torch.cat([sos, tokens[:, :-1]], 1)] + p["transformer.wpe.weight"]
    else:
        x = p["transformer.wte.weight"][tokens] * ~masked[:, :, None] + p["transformer.wpe.weight"]
        mask = torch.ones(t, t, dtype=torch.bool)
    features = []
    for i in range(n_layer):
        h = f"transformer.h.{i}."
        n = norm(x, p[h + "ln_1.weight"])
        features.append(n.mean(1))
        q, k, v = (y.view(b, t, n_head, -1).transpose(1, 2) for y in product(n, h + "attn.c_attn").split(c, 2))
        scores = q @ k.transpose(2, 3) / math.sqrt(c // n_head)
        a = torch.softmax(scores.masked_fill(~mask, -torch.inf), -1) @ v
        x = x + product(a.transpose(1, 2).reshape(b, t, c), h + "attn.c_proj")
        m = product(norm(x, p[h + "ln_2.weight"]), h + "mlp.c_fc")
        x = x + product(m * torch.sigmoid(1.702 * m), h + "mlp.c_proj")
    x = norm(x, p["transformer.ln_f.weight"])
    features.append(x.mean(1))
    return x @ p["lm_head.weight"].T, torch.stack(features, 1)


def nats(p, case, tokens):
    """Nats of each token, (B, T)."""
    logits = forward(p, case, tokens)[0]
    return -torch.log_softmax(logits, -1).gather(2, tokens[:, :, None])[:, :, 0]


def transformers_logits(p, case, tokens):
    height, width, n_vocab, c, n_layer, n_head, n_inner, _, _ = case
    config = ImageGPTConfig(
        vocab_size=n_vocab + 1, n_positions=height * width, n_embd=c, n_layer=n_layer, n_head=n_head, n_inner=n_inner
    )
    model = ImageGPTForCausalImageModeling(config).double().eval()
    state = {k: torch.zeros_like(v) for k, v in model.state_dict().items()}
    assert set(p) <= set(state), set(p) - set(state)
    model.load_state_dict(state | {k: v.detach() for k, v in p.items()})
    sos = torch.full((tokens.shape[0], 1), n_vocab)
    with torch.no_grad():
        return model(input_ids=torch.cat([sos, tokens[:, :-1]], 1)).logits


def number(x):
    return float(f"{float(x):.9g}")


def summary(tensor):
    values = tensor.detach().double().reshape(-1).numpy()
    count = len(values)
    at = np.arange(count) if count <= ENTRIES else hashes("entries", ENTRIES) % np.uint32(count)
    signs = 1.0 - 2.0 * (hashes("signs", count) & np.uint32(1))
    return {
        "norm": number(np.linalg.norm(values)),
        "signed_sum": number(values @ signs),
        "entries": [number(v) for v in values[at]],
    }


def without_key_biases(name, tensor):
    """Key biases have no effect (softmax ignores them): their gradient is rounding noise, which Adam scales up."""
    if name.endswith("c_attn.bias"):
        c = len(tensor) // 3
        return torch.cat([tensor[:c], torch.zeros(c), tensor[2 * c :]])
    return tensor


def inputs(case):
    height, width, n_vocab, _, _, _, _, _, images = case
    p = {k: make(k, *v).double().requires_grad_() for k, v in parameters(case).items()}
    count = images * height * width
    tokens = torch.from_numpy((hashes("tokens", count) % np.uint32(n_vocab)).astype(np.int64)).view(images, -1)
    return p, tokens


def orthogonalize(x):
    """Five Newton-Schulz steps, the short side first."""
    if x.shape[0] > x.shape[1]:
        return orthogonalize(x.T).T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


def muon_step(weight, gradient, momentum, parts):
    """One step of `weight` (fan in, fan out), cut by columns into `parts` equal matrices; changes it and `momentum`."""
    momentum.lerp_(gradient, 1 - MUON["momentum"])
    update = gradient.lerp(momentum, MUON["momentum"])
    weight.mul_(1 - MUON["lr"] * MUON["weight_decay"])
    width = weight.shape[1] // parts
    for new, update in zip(weight.split(width, 1), update.split(width, 1)):
        fan_in, fan_out = update.shape
        new.sub_(MUON["lr"] * math.sqrt(max(1, fan_out / fan_in)) * orthogonalize(update))


def check_muon():
    """Our step beside that of torch.optim.Muon, whose weights are (fan out, fan in)."""
    for shape in [(48, 48), (48, 192), (192, 48)]:
        start, gradient = (torch.from_numpy(unit(n, math.prod(shape)).reshape(shape)).double() for n in ["w", "g"])
        theirs = torch.nn.Parameter(start.T.clone())
        theirs.grad = gradient.T.clone()
        torch.optim.Muon([theirs], **MUON, nesterov=True).step()
        ours = start.clone()
        muon_step(ours, gradient, torch.zeros(shape).double(), 1)
        error = ((ours - theirs.T).norm() / (ours - start).norm()).item()
        assert error < 0.05, f"{shape}: torch.optim.Muon differs by {error}"


def record_muon(case):
    p, tokens = inputs(case)
    hidden = {k: torch.zeros_like(v) for k, v in p.items() if ".h." in k and v.dim() == 2}
    adam = torch.optim.Adam([v for k, v in p.items() if k not in hidden], lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    for _ in range(3):
        for v in p.values():
            v.grad = None
        nats(p, case, tokens).mean().backward()
        torch.nn.utils.clip_grad_norm_(p.values(), 1.0)
        adam.step()
        with torch.no_grad():
            for k, momentum in hidden.items():
                muon_step(p[k], p[k].grad, momentum, 3 if "c_attn" in k else 1)
    return {
        "after_three_steps": {k: summary(without_key_biases(k, v)) for k, v in p.items()},
        "nats_after_three_steps": [number(v) for v in nats(p, case, tokens).sum(1)],
    }


def record(name, case):
    height, width, n_vocab, c, n_layer, n_head, n_inner, biases, images = case
    shapes = parameters(case)
    p, tokens = inputs(case)

    logits, features = forward(p, case, tokens)
    theirs = transformers_logits(p, case, tokens)
    difference = (logits - theirs).abs().max().item()
    assert difference < 1e-10, f"{name}: transformers' logits differ by {difference}"
    each = nats(p, case, tokens).sum(1)

    optimizer = torch.optim.Adam(p.values(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    gradients, norms = None, []
    for _ in range(3):
        optimizer.zero_grad()
        nats(p, case, tokens).mean().backward()
        if gradients is None:
            gradients = {k: summary(v.grad) for k, v in p.items()}
        norms.append(number(torch.nn.utils.clip_grad_norm_(p.values(), 1.0)))
        optimizer.step()
    return {
        "config": {
            "height": height,
            "width": width,
            "n_vocab": n_vocab,
            "n_embd": c,
            "n_layer": n_layer,
            "n_head": n_head,
            "n_inner": n_inner,
            "biases": biases,
        },
        "images": images,
        "scales": {k: scale for k, (_, scale) in shapes.items()},
        "nats": [number(v) for v in each],
        "logits": summary(logits),
        "features": [summary(features[:, layer]) for layer in range(n_layer + 1)],
        "gradients": gradients,
        "gradient_norms": norms,
        "after_three_steps": {k: summary(without_key_biases(k, v)) for k, v in p.items()},
        "nats_after_three_steps": [number(v) for v in nats(p, case, tokens).sum(1)],
    }


def record_fine(case_name, is_masked, layer, weight):
    case = CASES[case_name]
    height, width, n_vocab, c, _, _, _, _, images = case
    p, tokens = inputs(case)
    scales = {k: scale for k, (_, scale) in parameters(case).items()}
    if layer is not None:
        scales["score.weight"] = scales["lm_head.weight"]
        p["score.weight"] = make("score.weight", (NUM_LABELS, c), scales["score.weight"]).double().requires_grad_()
    masked = torch.from_numpy(hashes("masks", tokens.numel()) % np.uint32(100) < 15).view(tokens.shape)
    labels = torch.from_numpy((hashes("labels", images) % np.uint32(NUM_LABELS)).astype(np.int64))

    logits, features = forward(p, case, tokens, masked if is_masked else None)
    each = -torch.log_softmax(logits, -1).gather(2, tokens[:, :, None])[:, :, 0]
    gen = (each * masked).sum(1) / masked.sum(1) if is_masked else each.mean(1)
    golden = {"case": case_name, "masked": is_masked, "layer": layer, "generative_weight": weight, "scales": scales}
    loss = gen.mean()
    if layer is not None:
        scores = features[:, layer] @ p["score.weight"].T
        classes = torch.nn.functional.cross_entropy(scores, labels, reduction="none")
        loss = weight * gen.mean() + classes.mean()
        golden |= {"num_labels": NUM_LABELS, "class_nats": [number(v) for v in classes], "class_logits": summary(scores)}
    loss.backward()
    return golden | {
        "nats": [number(v) for v in gen * height * width],
        "logits": summary(logits),
        "gradients": {k: summary(v.grad) for k, v in p.items()},
    }


def write(name, golden):
    text = json.dumps(golden, separators=(",", ":"))
    # One tensor a line, so that a change can be read.
    text = text.replace('},"', '},\n"').replace(':{"', ':{\n"').replace("},{", "},\n{")
    (OUT / f"{name}.json").write_text(text + "\n")


def main():
    OUT.mkdir(exist_ok=True)
    for name, case in CASES.items():
        golden = record(name, case)
        write(name, golden)
        n_ctx = case[0] * case[1]
        print(name, [v / n_ctx for v in golden["nats"]], golden["gradient_norms"])
    for name, fine in FINE_CASES.items():
        golden = record_fine(*fine)
        write(f"fine_{name}", golden)
        print("fine", name, golden["nats"], golden.get("class_nats"))
    check_muon()
    for name in MUON_CASES:
        golden = record_muon(CASES[name])
        write(f"muon_{name}", golden)
        print("muon", name, golden["nats_after_three_steps"])


main()
