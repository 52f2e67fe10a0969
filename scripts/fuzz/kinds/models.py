"""Damaged models: configuration, weights in both formats, palette."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import ClassVar

from ..bench import TESTDATA, Bench, copy_tree
from ..kind import Kind
from ..mutate import mutated, mutated_json, spell
from ..pickles import expanded, mutated_pickle, mutated_tensors
from ..subject import Ended, Finding, not_finite


class Models(Kind):
    """A file of a model directory mutated; then the model draws, scores or embeds. What it says must be numbers."""

    name: ClassVar[str] = "models"
    share: ClassVar[int] = 100

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        written_by_torch = ["bin", "bin-f16", "bin-sharded", "safetensors", "safetensors-sharded"]
        self.sources = [
            bench.run / "model",
            bench.classifier / "model",
            *(TESTDATA / "models" / name for name in written_by_torch),
        ]
        clean = bench.must("eval", "--model", str(bench.run), *self.scored())
        # Of a model whose run is not known, neither is whether it was trained on an image.
        self.allowed = {*not_finite(clean.json()), ".trained_on"}

    def scored(self) -> list[str]:
        """Flags that name what to score."""
        return ["--data", str(self.bench.pictures), "--split", "all", "--threads", "1", "--json"]

    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """A model with one file mutated."""
        model = folder / "model"
        copy_tree(rng.choice(self.sources), model)
        files = [path for path in sorted(model.iterdir()) if path.suffix in (".json", ".safetensors", ".bin")]
        files = [path for path in files if path.name not in ("parity.safetensors", "generation_config.json")]
        changed = rng.choice(files)
        changed.write_bytes(self.mutate(rng, changed))
        args = rng.choice(
            (
                ["sample", "-n", "1", "--model", "model", "--threads", "1", "--out", "x.npy", "--json"],
                ["sample", "-n", "1", "--model", "model", "--threads", "1", "--out", "x.png", "--quantize", "int8"],
                ["eval", "--model", "model", *self.scored()],
                ["eval", "--model", "model", *self.scored()],
                ["score", "--model", "model", *self.scored(), "--out", "scores", "--top", "1"],
                ["embed", "--model", "model", *self.scored(), "--out", "x.csv"],
                ["complete", "--model", "model", *self.scored(), "-n", "1", "--completions", "1", "--out", "x.npy"],
            )
        )
        subject = self.bench.subject
        ended = subject.run(args, folder)
        yield from subject.judge(ended, folder, changed.name)
        if ended.code == 0 and (wrong := self.wrong_numbers(ended, folder)):
            yield Finding("silent", f"{args[0]} succeeds with {wrong} ({changed.name})", subject.spell(args, folder))

    def wrong_numbers(self, ended: Ended, folder: Path) -> str:
        """What is no number in the results."""
        if ended.command[0] == "eval":
            paths = sorted(set(not_finite(ended.json())) - self.allowed)
            return f"no number at {', '.join(paths[:3])}" if paths else ""
        for name in ("x.csv", "scores/scores.csv"):
            path = folder / name
            if path.exists() and any(word in path.read_bytes().lower() for word in (b",nan", b",inf", b",-inf")):
                return f"no numbers in {name}"
        return ""

    @staticmethod
    def mutate(rng: Random, path: Path) -> bytes:
        """A file of a model mutated by what it is."""
        data = path.read_bytes()
        if rng.random() < 0.12:
            return (
                mutated(rng, data)
                if rng.random() < 0.8
                else rng.choice((b"", b"version https://git-lfs.github.com/spec/v1\n"))
            )
        if path.suffix == ".json":
            return spell(mutated_json(rng, json.loads(data)))
        return mutated_safetensors(rng, data) if path.suffix == ".safetensors" else mutated_zip(rng, path)


def mutated_safetensors(rng: Random, data: bytes) -> bytes:
    """Weights whose header or numbers are mutated."""
    size = struct.unpack("<Q", data[:8])[0]
    header, body = data[8 : 8 + size], bytearray(data[8 + size :])
    way = rng.random()
    if way < 0.5:
        header = spell(mutated_json(rng, json.loads(header)))
    elif way < 0.6:
        size = rng.choice((0, 1, size - 1, size + 1, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1))
        return struct.pack("<Q", size) + header + body
    elif way < 0.9:
        extreme_floats(rng, body)
    else:
        body = bytearray(mutated(rng, bytes(body)))
    return struct.pack("<Q", len(header)) + header + body


def extreme_floats(rng: Random, body: bytearray) -> None:
    """Exponent bits turned over, or numbers that are none put in."""
    for _ in range(rng.choice((1, 1, 3, 20))):
        at = rng.randrange(len(body) // 4) * 4
        if rng.random() < 0.5 and at + 4 <= len(body):
            body[at + 3] ^= 1 << rng.randrange(5, 7)
        else:
            body[at : at + 4] = struct.pack("<f", rng.choice((float("nan"), float("inf"), 3e38, -3e38, 1e-40)))


def mutated_zip(rng: Random, path: Path) -> bytes:
    """A torch file whose pickle or tensors are mutated, packed again with right checksums."""
    with zipfile.ZipFile(path) as old:
        parts = {info.filename: old.read(info) for info in old.infolist()}
    pickle = next(name for name in parts if name.endswith("data.pkl"))
    way = rng.random()
    if way < 0.35:
        parts[pickle] = mutated_pickle(rng, parts[pickle])
    elif way < 0.65:
        parts[pickle] = mutated_tensors(rng, parts[pickle])
    elif way < 0.75:
        config = json.loads((path.parent / "config.json").read_bytes())
        parts[pickle] = expanded(rng, config)
        (path.parent / "config.json").write_bytes(spell(config))
    else:
        tensor = rng.choice([name for name in parts if "/data/" in name])
        parts[tensor] = mutated(rng, parts[tensor])
    target = path.with_suffix(".new")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED) as new:
        for name, data in parts.items():
            if rng.random() > 0.02:
                new.writestr(zipfile.ZipInfo(name), data)
    data = target.read_bytes()
    target.unlink()
    return data
