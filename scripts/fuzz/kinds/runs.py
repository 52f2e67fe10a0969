"""Damaged run directories: checkpoints, metrics, settings, models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import ClassVar

from ..bench import NETWORK, QUICK, Bench, copy_tree
from ..kind import Kind
from ..mutate import mutated, mutated_json, one_bit, spell
from ..subject import Ended, Finding, Subject
from .models import mutated_safetensors

SEALED = {"state.safetensors", "checkpoint.toml", "complete"}
NEWEST = "step-00000002"


class Runs(Kind):
    """A file of a run directory mutated, then the run is listed, reported, resumed or drawn from. A checkpoint of which
    a bit changed must not be resumed from without a word."""

    name: ClassVar[str] = "runs"
    share: ClassVar[int] = 50

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        # Two steps of three: the third is what is left for --resume.
        self.source = bench.work / "unfinished"
        train = ["pretrain", "--data", str(bench.pictures), "--steps", "3", "--colors", "6", *NETWORK, *QUICK]
        bench.must(*train, "--set", "train.checkpoint_every=1", "--out", str(self.source))
        for path in (self.source / "checkpoints" / "step-00000003").iterdir():
            path.unlink()
        (self.source / "checkpoints" / "step-00000003").rmdir()
        (self.source / "checkpoints" / "last").write_text(NEWEST + "\n")

    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """A run directory and a verb."""
        run = folder / "run"
        copy_tree(self.source, run)
        files = [
            path for path in sorted(run.rglob("*")) if path.is_file() and path.suffix != ".png" and path.name != ".lock"
        ]
        sealed = [path for path in files if path.name in SEALED]
        changed = rng.choice(sealed if rng.random() < 0.5 else files)
        data, doubtless = changed.read_bytes(), False
        if changed in sealed and rng.random() < 0.5:
            changed.write_bytes(one_bit(rng, data))
            doubtless = True
        elif changed.suffix == ".safetensors":
            changed.write_bytes(mutated_safetensors(rng, data))
        elif changed.suffix == ".json":
            changed.write_bytes(spell(mutated_json(rng, json.loads(data))))
        elif changed.suffix == ".jsonl":
            lines = data.splitlines()
            at = rng.randrange(len(lines))
            lines[at] = spell(mutated_json(rng, json.loads(lines[at])))
            changed.write_bytes(b"\n".join(lines) + b"\n")
        else:
            changed.write_bytes(mutated(rng, data))
        verbs = [
            ["checkpoints", "run", "--json"],
            ["pretrain", "--resume", "--out", "run"],
            ["sample", "--model", "run", "-n", "1", "--threads", "1", "--out", "x.npy"],
        ]
        if number % 8 == 0:
            verbs = [
                ["report", "run", "--threads", "1", "--images", "2", "--probe-images", "0", "--out", "report.html"]
            ]
        subject = self.bench.subject
        for args in verbs[:2] if doubtless else [rng.choice(verbs)]:
            ended = subject.run(args, folder)
            yield from subject.judge(ended, folder, changed.name)
            if doubtless:
                yield from unnoticed(subject, ended, changed, folder)


def unnoticed(subject: Subject, ended: Ended, changed: Path, folder: Path) -> Iterator[Finding]:
    """What is wrong if a checkpoint with a changed bit is taken as whole."""
    command = subject.spell(ended.command, folder)
    if ended.command[0] == "checkpoints" and ended.code == 0:
        yield Finding("silent", f"checkpoints calls a changed {changed.name} whole", command)
    words = ended.err.decode(errors="replace")
    if (
        ended.command[0] == "pretrain"
        and ended.code == 0
        and changed.parent.name == NEWEST
        and changed.parent.name not in words
    ):
        yield Finding(
            "silent", f"--resume goes on from a changed {changed.name} without a word", command, notes=[words[-300:]]
        )
