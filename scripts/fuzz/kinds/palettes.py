"""Damaged palettes: .npy files and preprocessor_config.json."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import ClassVar

from ..bench import Bench
from ..kind import Kind
from ..mutate import mutated, mutated_json, spell
from ..subject import Finding, not_finite

DESCR = ["'<f4'", "'<f8'", "'|u1'", "'>f4'", "'<i8'", "'<f2'", "'|O'", "'<U9'", "[('a','<f4')]"]
SHAPES = [
    "(6, 3)",
    "(6,)",
    "(3, 6)",
    "(6, 3, 1)",
    "(6, 4)",
    "()",
    "(0, 3)",
    "(18446744073709551615, 3)",
    "(4611686018427387904, 4)",
    "(-6, 3)",
]


def npy(values: list[float], descr: str = "'<f4'", order: str = "False", shape: str = "(6, 3)") -> bytes:
    """A .npy file of 32-bit floats, whatever its header says."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + struct.pack(f"<{len(values)}f", *values)


class Palettes(Kind):
    """A palette mutated, then judged or used. One with numbers that are none must be refused."""

    name: ClassVar[str] = "palettes"
    share: ClassVar[int] = 50

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.document = json.loads((bench.run / "preprocessor_config.json").read_bytes())
        (bench.work / "clean.npy").write_bytes(npy([i / 18 for i in range(18)]))
        clean = bench.must(
            "palette", "inspect", "--palette", "clean.npy", "--data", str(bench.pictures), "--split", "all", "--json"
        )
        self.allowed = set(not_finite(clean.json()))

    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """A palette file and a verb that reads it."""
        name, data, must_fail = self.make(rng)
        (folder / name).write_bytes(data)
        pictures = ["--data", str(self.bench.pictures), "--threads", "1"]
        args = ["palette", "inspect", "--palette", name, *pictures, "--split", "all", "--json", "--out", "x.png"]
        if rng.random() < 0.3:
            args = ["data", "tokenize", "--palette", name, *pictures, "--n-px", "8", "--out", "tokens"]
        subject = self.bench.subject
        ended = subject.run(args, folder)
        kind = name.split(".")[1]
        yield from subject.judge(ended, folder, kind)
        if ended.code == 0:
            wrong = sorted(set(not_finite(ended.json())) - self.allowed) if args[0] == "palette" else []
            if must_fail or wrong:
                why = must_fail or f"no number at {', '.join(wrong)}"
                yield Finding(
                    "silent", f"{args[0]} {args[1]} accepts a palette: {why} ({kind})", subject.spell(args, folder)
                )

    def make(self, rng: Random) -> tuple[str, bytes, str]:
        """A palette: its name, its bytes, and why it must be refused ("" if it need not)."""
        values = [rng.uniform(-1, 1) for _ in range(18)]
        way = rng.random()
        if way < 0.35:
            return "preprocessor_config.json", spell(mutated_json(rng, self.document)), ""
        if way < 0.5:
            values[rng.randrange(18)] = rng.choice((float("nan"), float("inf"), float("-inf")))
            return "p.npy", npy(values), "a colour that is no number"
        if way < 0.75:
            return (
                "p.npy",
                npy(values, rng.choice(DESCR), rng.choice(("False", "True", "0", "x")), rng.choice(SHAPES)),
                "",
            )
        return "p.npy", mutated(rng, npy(values)), ""
