"""Pickles as torch.save writes them, mutated as bytes, as opcodes and as tensors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import Any

from .mutate import mutated

TENSOR = re.compile(
    rb"X(.)\0\0\0(?P<name>[\w.]+)q.(?:ctorch\._utils\n_rebuild_tensor_v2\nq.|h.)\(\("
    rb".{0,60}?X\x01\0\0\0(?P<key>\d)",
    re.DOTALL,
)
OPCODES = [
    b"R",
    b"(",
    b"t",
    b"]",
    b"}",
    b")",
    b"0",
    b"2",
    b"q\xff",
    b"h\xff",
    b"Q",
    b"b",
    b"s",
    b"u",
    b"a",
    b"e",
    b"\x85",
    b"N",
]
NUMBERS = [
    0,
    1,
    2,
    3,
    255,
    65536,
    (1 << 31) - 1,
    -1,
    1 << 32,
    1 << 40,
    (1 << 62) + 1,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
]


def mutated_pickle(rng: Random, data: bytes) -> bytes:
    """A pickle with bytes, numbers or opcodes changed."""
    way = rng.random()
    if way < 0.4:
        return mutated(rng, data)
    if way < 0.8:
        # A small number in an opcode of its own (K) becomes another: a shape, stride, offset or length.
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.choice([i for i in range(len(data) - 1) if data[i : i + 1] == b"K"])
            data = data[:at] + number(rng.choice(NUMBERS)) + data[at + 2 :]
        return data
    at = rng.randrange(2, len(data))
    return data[:at] + rng.choice([*OPCODES, b"cos\nsystem\n"]) * rng.choice((1, 1, 3, 5000)) + data[at:]


@dataclass
class Tensor:
    """What a pickle says of a tensor."""

    name: str
    storage: str
    key: str
    count: int
    offset: int
    shape: list[int]
    stride: list[int]
    wraps: int = 0
    """How often it is wrapped into a parameter, the same function applied to its own result."""


def expanded(rng: Random, config: dict[str, Any]) -> bytes:
    """A pickle of a network as large as `config` is made here, each of whose tensors is one number, expanded by strides
    of 0: a few bytes that stand for more than any memory holds."""
    width = rng.choice((1 << 16, 1 << 18, 1 << 20, 1 << 24, 1 << 31))
    config |= {"n_embd": width, "n_head": width // 64, "n_layer": 1}
    shapes = {
        "transformer.wte.weight": [config["vocab_size"], width],
        "transformer.wpe.weight": [config["n_positions"], width],
        "transformer.h.0.ln_1.weight": [width],
        "transformer.h.0.attn.c_attn.weight": [width, 3 * width],
        "transformer.h.0.attn.c_attn.bias": [3 * width],
        "transformer.h.0.attn.c_proj.weight": [width, width],
        "transformer.h.0.attn.c_proj.bias": [width],
        "transformer.h.0.ln_2.weight": [width],
        "transformer.h.0.mlp.c_fc.weight": [width, 4 * width],
        "transformer.h.0.mlp.c_fc.bias": [4 * width],
        "transformer.h.0.mlp.c_proj.weight": [4 * width, width],
        "transformer.h.0.mlp.c_proj.bias": [width],
        "transformer.ln_f.weight": [width],
        "lm_head.weight": [config["vocab_size"] - 1, width],
    }
    tensors = [Tensor(n, "FloatStorage", "0", 72, 0, s, [0] * len(s)) for n, s in shapes.items()]
    return pickle(tensors)


def mutated_tensors(rng: Random, data: bytes) -> bytes:
    """A pickle of the tensors that another names, with their sizes, strides, offsets and kinds changed."""
    names = [found["name"].decode() for found in TENSOR.finditer(data)] or ["transformer.wte.weight"]
    tensors = [Tensor(name, "FloatStorage", str(i), 72, 0, [6, 12], [12, 1]) for i, name in enumerate(names)]
    for _ in range(rng.choice((1, 1, 2))):
        tensor, way = rng.choice(tensors), rng.random()
        if way < 0.2:
            tensor.shape[rng.randrange(2)] = rng.choice(NUMBERS)
        elif way < 0.35:
            tensor.shape, tensor.stride = [6, rng.choice((1 << 20, 1 << 28, 1 << 40))], [0, 0]
        elif way < 0.45:
            tensor.stride[rng.randrange(2)] = rng.choice(NUMBERS)
        elif way < 0.55:
            tensor.offset = rng.choice(NUMBERS)
        elif way < 0.65:
            tensor.count = rng.choice(NUMBERS)
        elif way < 0.75:
            tensor.shape = [rng.choice((1, 2, 72))] * rng.choice((0, 1, 3, 60, 3000))
            tensor.stride = [1] * len(tensor.shape)
        elif way < 0.85:
            tensor.storage = rng.choice(
                ("HalfStorage", "BFloat16Storage", "DoubleStorage", "ByteStorage", "X", "LongStorage")
            )
        elif way < 0.9:
            tensor.key = rng.choice(("99", "../../x", "", "a" * 1000, "0"))
        else:
            tensor.wraps = rng.choice((1, 10, 100_000))
    return pickle(tensors)


def pickle(tensors: list[Tensor]) -> bytes:
    """A state dict."""
    return b"\x80\x02}(" + b"".join(map(spell, tensors)) + b"u."


def spell(tensor: Tensor) -> bytes:
    """A name and a tensor as opcodes."""
    storage = b"(" + text("storage") + b"ctorch\n" + tensor.storage.encode() + b"\n"
    storage += text(tensor.key) + text("cpu") + number(tensor.count) + b"tQ"
    sizes = b"(" + b"".join(map(number, tensor.shape)) + b"t(" + b"".join(map(number, tensor.stride)) + b"t"
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(tensor.offset) + sizes + b"\x89)tR"
    if tensor.wraps:
        made += b"q\0" + text("w") + b"ctorch._utils\n_rebuild_parameter\nq\x05(h\0\x89}tRq\0"
        made += (text("w") + b"h\x05(h\0\x89}tRq\0") * (tensor.wraps - 1)
    return text(tensor.name) + made


def text(value: str) -> bytes:
    """A string."""
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def number(value: int) -> bytes:
    """A whole number in the shortest opcode."""
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + value.to_bytes(4, "little", signed=True)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
