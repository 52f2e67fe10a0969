"""Flags: every verb with every value that is no path, made extreme."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import ClassVar

from ..bench import NETWORK, QUICK, Bench
from ..kind import Kind
from ..subject import Finding

VALUES = [
    "0", "1", "2", "3", "7", "-1", "-0", "0.5", "1e-320", "1e308", "-1e308", "nan", "NaN", "inf", "-inf", "255", "256",
    "65535", "65536", "65537", "1000000000", "2147483647", "2147483648", "4294967295", "4294967296",
    "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "", " ", "x", "all",
    "8x8", "0x0", "1x1", "8x100000", "100000", "0,0", "1,,2", "0,99", "-1,-1", "1e5", "0x10", "\x1b[2J", "é", "9" * 400,
]  # fmt: skip
FLAG = re.compile(r"^\s+(?:-(\w), )?--([a-z-]+) \[?<([^>]+)>", re.MULTILINE)
PATHS = re.compile(r"FILE|DIR|RUN|SPEC|PATH|ADDR|SHELL")
LONG = set(
    "batch steps epochs minutes seconds images samples completions candidates repeats rounds seeds views kills".split()
)
"""More of these rightly means more work: not being done soon is no finding, and they get little time."""


class Flags(Kind):
    """A verb that would soon be done, with one or two of its flags extreme."""

    name: ClassVar[str] = "flags"
    share: ClassVar[int] = 70

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        run, tuned = str(bench.run), str(bench.classifier)
        data = ["--data", str(bench.pictures)]
        picture = str(bench.pictures / "cat" / "0.png")
        one = ["--threads", "1", "--json"]
        small = [
            "--n-embd",
            "16",
            "--n-layer",
            "1",
            "--n-head",
            "1",
            "--n-ctx",
            "64",
            "--colors",
            "6",
            "--batch",
            "1",
            "--repeats",
            "1",
        ]
        train = [*data, "--steps", "1", "--colors", "6", *NETWORK, *QUICK, "--json"]
        self.verbs: list[tuple[list[str], list[str]]] = [
            (["sample"], ["--model", run, "-n", "1", "--out", "x.npy", *one]),
            (["sample"], ["--model", run, "-n", "1", "--out", "x.png", "--quantize", "int8", "--gif", "x.gif", *one]),
            (
                ["complete"],
                ["--model", run, *data, "--split", "all", "-n", "1", "--completions", "1", "--out", "x.png", *one],
            ),
            (["eval"], ["--model", run, *data, "--split", "all", *one]),
            (["score"], ["--model", run, *data, "--split", "all", "--out", "scores", *one]),
            (["inspect", "fit"], ["--model", run, *data, *one]),
            (["inspect", "run"], ["--model", run, "--out", "judged", *one, picture]),
            (["embed"], ["--model", run, *data, "--out", "x.npy", *one]),
            (
                ["audit"],
                ["--model", run, *data, "-n", "1", "--held-out", "1", "--train-images", "2", "--out", "audit", *one],
            ),
            (["probe"], ["--model", run, *data, *one]),
            (["classify"], ["--model", tuned, *one, picture]),
            (["report"], [run, *data, "--images", "2", "--probe-images", "0", "--out", "x.html", *one]),
            (["pretrain"], [*train, "--out", "run"]),
            (["pretrain"], [*train, "--objective", "masked", "--out", "run"]),
            (["finetune"], ["--model", run, *data, "--steps", "1", *QUICK, "--json", "--out", "run"]),
            (["plan"], [*data, "--colors", "6", *NETWORK, "--threads", "1", "--seconds", "0.01", "--json"]),
            (["palette", "fit"], [*data, "--colors", "6", "--out", "p.npy", *one]),
            (["palette", "inspect"], ["--palette", run, *data, "--split", "all", "--out", "p.png", *one]),
            (["data", "tokenize"], [*data, "--palette", run, "--n-px", "8", "--out", "tokens", *one]),
            (["data", "check"], [*data, "--out", "x.html", *one]),
            (["parity"], [str(bench.work.parent), "--threads", "1"]),
            (["bench", "train"], [*small, "--threads", "1"]),
            (["bench", "forward"], [*small, "--threads", "1"]),
            (["bench", "data"], [*data, "--n-px", "8", "--seconds", "0.01"]),
            (
                ["verify-resume"],
                ["--steps", "1", "--kills", "0", "--set", f"data.spec={bench.pictures}", "--set", "train.threads=1"],
            ),
            (["serve"], ["--model", run, "--listen", "192.0.2.1:1"]),
        ]
        self.flags = {" ".join(verb): self.read_help(verb) for verb, _ in self.verbs}

    def read_help(self, verb: list[str]) -> list[str]:
        """A verb's flags whose values are no paths, as its help lists them."""
        text = self.bench.must(*verb, "--help").out.decode()
        return [
            name
            for _, name, value in FLAG.findall(text)
            if not PATHS.search(value) and name not in ("set", "token", "python")
        ]

    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """One command."""
        verb, base = rng.choice(self.verbs)
        args, changed = list(base), []
        for _ in range(rng.choice((1, 1, 2))):
            name, value = rng.choice(self.flags[" ".join(verb)]), rng.choice(VALUES)
            changed.append(name)
            args = without(args, name)
            args = [f"--{name}={value}", *args]
        command = [*verb, *args]
        subject = self.bench.subject
        long = any(name in LONG for name in changed) or verb == ["verify-resume"]
        ended = subject.run(command, folder, 4.0 if long else 20.0)
        if ended.timed_out and long and not ended.crash:
            return
        about = " ".join([*verb[1:], *(f"--{name}" for name in sorted(set(changed)))])
        yield from subject.judge(ended, folder, about)


SHORT = {"images": "-n", "samples": "-n"}


def without(args: list[str], name: str) -> list[str]:
    """Arguments without a flag and its value, which can't be given twice."""
    names = {f"--{name}", SHORT.get(name, "")}
    result, skip = [], False
    for arg in args:
        if skip:
            skip = False
        elif arg in names:
            skip = True
        elif not arg.startswith(f"--{name}="):
            result.append(arg)
    return result
