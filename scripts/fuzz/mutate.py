"""Mutations of bytes and of JSON documents; a case is a function of its random generator alone."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

EXTREMES = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    (1 << 63) - 1,
    (1 << 64) - 1,
]
NUMBERS = [0, 1, -1, 2, 1 << 16, 1 << 24, 1 << 31, 1 << 32, 1 << 40, (1 << 63) - 1, (1 << 64) - 1, 0.5, 1e308]
VALUES: list[Any] = [
    0, 1, -1, 2, 3, 7, 255, 256, 65535, 65536, 1 << 20, 1 << 24, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 40,
    (1 << 53) + 1, (1 << 63) - 1, (1 << 64) - 1, -(1 << 63), 0.5, -0.0, 1e-320, 1e30, 1e308, -1e308, float("nan"),
    float("inf"), True, False, None, "", "x", "0", "\x1b]0;x\x07", "a\x00b", "../../x", "é" * 300, [], {}, [[]], [0],
    [-1.0] * 5, {"a": 1},
]  # fmt: skip


def flip_bits(rng: Random, data: bytearray) -> None:
    """One to eight bits turned over."""
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def set_number(rng: Random, data: bytearray) -> None:
    """An extreme number of one to eight bytes somewhere, more often near the front, where headers are."""
    width = rng.choice((1, 2, 2, 4, 4, 4, 8))
    reach = len(data) if rng.random() < 0.4 else min(len(data), 64)
    at = rng.randrange(reach)
    number = rng.choice(EXTREMES) & ((1 << (8 * width)) - 1)
    data[at : at + width] = number.to_bytes(width, rng.choice(("big", "little")))


def truncate(rng: Random, data: bytearray) -> None:
    """The end missing."""
    del data[rng.randrange(len(data)) :]


def zero_run(rng: Random, data: bytearray) -> None:
    """A run of zeros or of 255s."""
    at = rng.randrange(len(data))
    n = min(len(data) - at, rng.choice((1, 4, 16, 64, 512)))
    data[at : at + n] = rng.choice((b"\0", b"\xff")) * n


def duplicate(rng: Random, data: bytearray) -> None:
    """A block twice or many times."""
    at = rng.randrange(len(data))
    block = data[at : at + rng.choice((1, 4, 12, 64, 256))]
    data[at:at] = block * rng.choice((1, 1, 2, 50))


def remove(rng: Random, data: bytearray) -> None:
    """A block missing."""
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 2, 4, 16, 64))]


def noise(rng: Random, data: bytearray) -> None:
    """Random bytes over or between the others."""
    at, fresh = rng.randrange(len(data)), rng.randbytes(rng.choice((1, 4, 16, 64)))
    data[at : at + (len(fresh) if rng.random() < 0.7 else 0)] = fresh


def swap(rng: Random, data: bytearray) -> None:
    """Two blocks exchanged."""
    n = rng.choice((1, 2, 4, 16))
    a, b = rng.randrange(len(data)), rng.randrange(len(data))
    data[a : a + n], data[b : b + n] = data[b : b + n], data[a : a + n]


MUTATIONS: list[Callable[[Random, bytearray], None]] = [
    flip_bits, flip_bits, flip_bits, set_number, set_number, truncate, zero_run, duplicate, remove, noise, swap,
]  # fmt: skip


def mutated(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """The bytes with one to three mutations, sometimes spliced with others."""
    result = bytearray(data)
    if other and rng.random() < 0.05:
        result[rng.randrange(len(result)) :] = other[rng.randrange(len(other)) :] if rng.random() < 0.5 else other
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if result:
            rng.choice(MUTATIONS)(rng, result)
    return bytes(result)


def one_bit(rng: Random, data: bytes, start: int = 0, end: int | None = None) -> bytes:
    """The bytes with one bit turned over between two places."""
    result = bytearray(data)
    result[rng.randrange(start, len(data) if end is None else end)] ^= 1 << rng.randrange(8)
    return bytes(result)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values inside of a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for name, below in items for found in [(*path, name), *places(below, (*path, name))]]


def mutated_json(rng: Random, document: Any) -> Any:
    """A JSON document with one to three values replaced, removed, nested, doubled or renamed."""
    result = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        paths = places(result)
        if not paths:
            return result
        *path, name = rng.choice(paths)
        at = result
        for step in path:
            at = at[step]
        mutate_value(rng, at, name)
    return result


def mutate_value(rng: Random, at: Any, name: Any) -> None:
    """One value of an object or list changed."""
    old, way = at[name], rng.random()
    number = isinstance(old, int | float) and not isinstance(old, bool)
    if number and way < 0.35:
        at[name] = rng.choice(NUMBERS)
    elif way < 0.55:
        at[name] = copy.deepcopy(rng.choice(VALUES))
    elif way < 0.65:
        del at[name]
    elif number and way < 0.8:
        at[name] = rng.choice((old + 1, old - 1, -old, old * 2, str(old), float(old) if abs(old) < 1e300 else 0.5))
    elif way < 0.82:
        at[name] = rng.choice(([old], {"a": old}, "@nest 100@", "@nest 5000@"))
    elif way < 0.9 and isinstance(old, list):
        at[name] = old * rng.choice((0, 2, 3, 100)) if rng.random() < 0.7 else old[: len(old) // 2]
    elif isinstance(at, dict):
        at[rng.choice(("x", f"{name}_", "constructor", ""))] = (
            at.pop(name) if rng.random() < 0.5 else copy.deepcopy(old)
        )
    else:
        at.append(copy.deepcopy(old))


NEST = re.compile(rb'"@nest (\d+)@"')
"""Stands for many lists inside of one another, which Python's own recursion forbids."""


def spell(document: Any) -> bytes:
    """A JSON document as text; NaN and infinities are written as Python does."""
    text = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return NEST.sub(lambda found: b"[" * int(found[1]) + b"]" * int(found[1]), text)
