"""A kind of input: how its cases are made, run and judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import ClassVar

from .bench import Bench, remove_tree
from .subject import Finding


class Kind(ABC):
    """Cases of one kind, numbered from 0."""

    name: ClassVar[str]
    share: ClassVar[int]
    """Of about a thousand cases those of this kind."""
    batch: ClassVar[int] = 1
    """Cases that are tried together."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.keep: Path | None = None

    @abstractmethod
    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """Makes and runs a case in an empty folder, and says what is wrong."""

    def cases(self, first: int, count: int) -> Iterator[Finding]:
        """Runs cases in a row."""
        for number in range(first, first + count):
            yield from self.single(number)

    def single(self, number: int) -> Iterator[Finding]:
        """Runs one case and numbers its findings."""
        with self.bench.folder(self.name, number) as folder:
            findings = list(self.case(self.bench.rng(self.name, number), folder, number))
            for finding in findings:
                finding.kind, finding.case, finding.files = self.name, number, folder
            yield from findings
            if self.keep is None:
                remove_tree(folder)
