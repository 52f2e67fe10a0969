#!/usr/bin/env python3
"""Fuzzes the igpt program from outside: mutated files, flags, settings and requests, under limits of memory and time.

    scripts/fuzz.py target/release/igpt --seconds 180
    scripts/fuzz.py target/release/igpt --cases 100000 --keep findings
    scripts/fuzz.py target/release/igpt --case models:17 --keep findings

Case N of a kind is the same bytes each time for the same --seed (models and runs are made by the program itself). The
exit code is 1 if anything was found; the last lines are a table of what was tried. Wants Linux and nothing but Python;
docs/reliability.md says what counts as a finding.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from fuzz.bench import Bench, remove_tree
from fuzz.kind import Kind
from fuzz.kinds.archives import Archives
from fuzz.kinds.configs import Configs
from fuzz.kinds.flags import Flags
from fuzz.kinds.images import Images
from fuzz.kinds.models import Models
from fuzz.kinds.outputs import Outputs
from fuzz.kinds.pages import Pages
from fuzz.kinds.palettes import Palettes
from fuzz.kinds.requests import Requests
from fuzz.kinds.runs import Runs
from fuzz.kinds.streams import Streams
from fuzz.kinds.tokens import Tokens
from fuzz.subject import Finding, Subject, limit_this_process

KINDS: list[type[Kind]] = [
    Images,
    Models,
    Palettes,
    Archives,
    Tokens,
    Runs,
    Configs,
    Flags,
    Requests,
    Pages,
    Streams,
    Outputs,
]
COLUMNS = {"crash": "crashes", "hang": "hangs", "memory": "memory", "silent": "silent", "files": "files"}
SHOWN = 3
"""Findings of one signature that are shown with their commands."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(kind.name for kind in KINDS)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--cases", type=int, default=0, help="cases in all; 0 is no limit")
    parser.add_argument("--seconds", type=float, default=0.0, help="time; 0 is no limit (a minute if neither is given)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help=f"kinds with commas between: {names}")
    parser.add_argument("--case", default="", metavar="KIND:NUMBER", help="run this case alone")
    parser.add_argument("--keep", type=Path, help="folder for the inputs of findings")
    chosen = parser.parse_args()
    if not chosen.cases and not chosen.seconds:
        chosen.seconds = 60.0
    unknown = [name for name in chosen.only.split(",") if name and name not in names.split(", ")]
    if unknown or not chosen.binary.is_file():
        parser.error(f"unknown kinds: {', '.join(unknown)}" if unknown else f"no such program: {chosen.binary}")
    return chosen


class Session:
    """What was tried and found."""

    def __init__(self, repeat: str, keep: Path | None) -> None:
        self.repeat, self.keep = repeat, keep
        self.tried: Counter[str] = Counter()
        self.found: Counter[tuple[str, str]] = Counter()
        self.signatures: Counter[tuple[str, str, str]] = Counter()

    def record(self, finding: Finding) -> None:
        """Counts a finding, shows the first ones of its signature, and keeps their files."""
        self.found[finding.kind, finding.what] += 1
        key = (finding.kind, finding.what, finding.signature)
        self.signatures[key] += 1
        if self.signatures[key] > SHOWN:
            return
        print(
            f"{finding.what.upper()} {finding.kind}:{finding.case}  {finding.signature}\n    {finding.command}",
            flush=True,
        )
        for note in filter(None, finding.notes):
            print(f"    {note!r}")
        print(f"    repeat: {self.repeat} --case {finding.kind}:{finding.case}", flush=True)
        if self.keep and finding.files and finding.files.exists():
            target = self.keep / f"{finding.kind}-{finding.case}"
            remove_tree(target)
            with contextlib.suppress(shutil.Error):  # of pipes, which can't be copied
                shutil.copytree(finding.files, target, symlinks=True)
            print(f"    kept in {target}")

    def table(self) -> None:
        """The last lines: what was tried and found, by kind."""
        if self.signatures:
            print("\nFindings by signature:")
            for (kind, what, signature), count in sorted(self.signatures.items()):
                print(f"{count:6} {kind} {what}: {signature}")
        print(f"\n{'kind':10}{'cases':>9}" + "".join(f"{column:>9}" for column in COLUMNS.values()))
        for kind, cases in self.tried.items():
            print(f"{kind:10}{cases:9}" + "".join(f"{self.found[kind, what]:9}" for what in COLUMNS))
        sums = [sum(n for (_, w), n in self.found.items() if w == what) for what in COLUMNS]
        print(f"{'in all':10}{sum(self.tried.values()):9}" + "".join(f"{n:9}" for n in sums), flush=True)


def fuzz(kinds: list[Kind], session: Session, cases: int, seconds: float) -> None:
    """Tries kinds in proportion to their shares until the cases or the time are used up."""
    end = time.monotonic() + seconds if seconds else float("inf")
    while (not cases or sum(session.tried.values()) < cases) and time.monotonic() < end:
        kind = min(kinds, key=lambda k: (session.tried[k.name] + k.batch / 2) / k.share)
        for finding in kind.cases(session.tried[kind.name], kind.batch):
            session.record(finding)
        session.tried[kind.name] += kind.batch


def main() -> int:
    """Runs everything; the exit code."""
    chosen = arguments()
    limit_this_process()
    work = Path(tempfile.mkdtemp(prefix="igpt-fuzz-"))
    session = Session(f"scripts/fuzz.py {chosen.binary} --seed {chosen.seed}", chosen.keep)
    (work / "home").mkdir()
    subject = Subject(chosen.binary, work / "home")
    try:
        bench = Bench(subject, work, chosen.seed)
        name, _, number = chosen.case.partition(":")
        only = [name] if chosen.case else chosen.only.split(",") if chosen.only else [kind.name for kind in KINDS]
        kinds = [kind(bench) for kind in KINDS if kind.name in only]
        if chosen.case:
            for kind in kinds:
                kind.keep = kind.bench.work
                for finding in kind.single(int(number)):
                    session.record(finding)
                session.tried[kind.name] += 1
                made = work / f"{kind.name}-{number}"
                if chosen.keep and made.exists():
                    shutil.copytree(made, chosen.keep / made.name, symlinks=True, dirs_exist_ok=True)
        else:
            fuzz(kinds, session, chosen.cases, chosen.seconds)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        subject.close()
        remove_tree(work)
    session.table()
    return 1 if session.found or not session.tried else 0


if __name__ == "__main__":
    sys.exit(main())
