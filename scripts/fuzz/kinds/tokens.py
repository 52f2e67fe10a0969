"""Damaged token directories."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from ..bench import NETWORK, QUICK, Bench, copy_tree
from ..kind import Kind
from ..mutate import mutated, mutated_json, one_bit, spell
from ..subject import Finding


class Tokens(Kind):
    """A file of a token directory mutated. `igpt data check` has to notice any changed bit of a shard; the manifest is
    also changed and sealed again, to reach what lies behind its checksum."""

    name: ClassVar[str] = "tokens"
    share: ClassVar[int] = 60

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.source, self.manifest = bench.tokens, json.loads((bench.tokens / "tokens.json").read_bytes())
        bench.must("data", "check", "--data", str(bench.tokens), "--strict")
        if seal(dict(self.manifest)) != (bench.tokens / "tokens.json").read_bytes():
            raise SystemExit("the manifest of tokens is sealed in another way than this script knows")

    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """A token directory and a verb that reads it."""
        tokens = folder / "tokens"
        copy_tree(self.source, tokens)
        changed = rng.choice(sorted(tokens.iterdir()))
        data, doubtless = changed.read_bytes(), ""
        if changed.suffix == ".tokens" and rng.random() < 0.7:
            data, doubtless = one_bit(rng, data), "a bit of a shard is another"
        elif changed.name == "tokens.json" and rng.random() < 0.75:
            data = seal(mutated_json(rng, self.manifest))
        elif changed.suffix == ".json" and rng.random() < 0.5:
            data = spell(mutated_json(rng, json.loads(data)))
        else:
            data = mutated(rng, data)
            doubtless = "a shard is another" if changed.suffix == ".tokens" and data != changed.read_bytes() else ""
        changed.write_bytes(data)
        check = ["data", "check", "--data", "tokens", "--strict", "--threads", "1", "--json"]
        use = rng.choice(
            (
                [
                    "eval",
                    "--model",
                    str(self.bench.run),
                    "--data",
                    "tokens",
                    "--split",
                    "all",
                    "--threads",
                    "1",
                    "--json",
                ],
                ["pretrain", "--data", "tokens", "--steps", "1", *NETWORK[2:], *QUICK, "--out", "run"],
            )
        )
        subject = self.bench.subject
        for args in (check, use) if rng.random() < 0.5 else (check,):
            ended = subject.run(args, folder)
            yield from subject.judge(ended, folder, changed.suffix)
            if doubtless and args is check and ended.code == 0:
                yield Finding(
                    "silent", f"data check --strict succeeds although {doubtless}", subject.spell(args, folder)
                )


def seal(manifest: Any) -> bytes:
    """A manifest's text with the checksum that belongs to it."""
    if not isinstance(manifest, dict):
        return spell(manifest)
    if not (isinstance(manifest.get("sha256"), str) and len(manifest["sha256"]) == 64):
        return spell(manifest)
    manifest = manifest | {"sha256": ""}
    text = pretty(manifest)
    return pretty(manifest | {"sha256": hashlib.sha256(text).hexdigest()})


def pretty(document: Any) -> bytes:
    """A document as the program writes it."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
