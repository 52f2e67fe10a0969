"""Streams that are closed or full, and signals at any moment of a training."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import IO, ClassVar

from ..bench import NETWORK, QUICK, Bench
from ..kind import Kind
from ..subject import SECONDS, Ended, Finding, read_ends, wait

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]
ENDINGS = {0, 1, 129, 130, 138, 143}
"""Exit codes of a run that a signal ended: saved, or 128 and the signal's number."""


class Streams(Kind):
    """Every verb with a standard output or error that is gone or full, and trainings that are told to stop. A run is
    neither ended by a stream nor lost by a signal."""

    name: ClassVar[str] = "streams"
    share: ClassVar[int] = 10

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        run = ["--model", str(bench.run)]
        data = ["--data", str(bench.pictures)]
        one = ["--threads", "1", "--json"]
        self.train = ["pretrain", *data, "--colors", "6", *NETWORK, *QUICK, "--out", "run"]
        self.verbs = [
            ["data", "check", *data, *one],
            ["completions", "bash"],
            ["sample", *run, "-n", "1", *one, "--out", "x.npy"],
            ["eval", *run, *data, *one],
            ["score", *run, *data, *one, "--out", "scores"],
            ["embed", *run, *data, *one, "--out", "x.npy"],
            ["audit", *run, *data, "-n", "1", *one],
            ["palette", "fit", *data, "--colors", "6", *one, "--out", "p.npy"],
            ["palette", "inspect", "--palette", str(bench.run), *data, *one],
            ["classify", "--model", str(bench.classifier), *one, str(bench.pictures / "cat" / "0.png")],
            ["checkpoints", str(bench.run), "--json"],
            ["checkpoints", str(bench.run)],
            ["report", str(bench.run), "--images", "2", "--probe-images", "0", *one, "--out", "x.html"],
            ["plan", *data, "--colors", "6", *NETWORK, "--threads", "1", "--seconds", "0.01"],
            ["doctor"],
            ["eval", *run, "--data", "missing"],
            ["--help"],
            ["eval", "--bad-flag"],
            [*self.train, "--steps", "3", "--json"],
        ]

    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """A verb with odd streams, or a training and a signal."""
        if rng.random() < 0.5:
            yield from self.signalled(rng, folder)
            return
        args, which = rng.choice(self.verbs), rng.choice(("stdout", "stderr", "both"))
        full = rng.random() < 0.5
        with Path("/dev/full").open("wb") if full else gone() as stream:
            out, err = (stream if which in (name, "both") else None for name in ("stdout", "stderr"))
            ended = self.bench.subject.run(args, folder, stdout=out, stderr=err)
        command = self.bench.subject.spell(args, folder)
        about = f"{which} {'full' if full else 'closed'}"
        if which != "stdout" and not ended.err:
            ended.err = b"(not to be seen)"
        yield from self.bench.subject.judge(ended, folder, about)
        if (
            args[0] == "pretrain"
            and which == "stderr"
            and ended.code == 0
            and not (folder / "run/model/model.safetensors").exists()
        ):
            yield Finding("files", f"a training with {about} leaves no model", command)
        if args[0] == "pretrain" and which == "stderr" and ended.code == 1:
            yield Finding("files", f"a training with {about} ends with an error", command)

    def signalled(self, rng: Random, folder: Path) -> Iterator[Finding]:
        """A training told to stop after some line of output: it ends soon, and what it leaves is whole."""
        lines, number, twice = rng.randrange(1, 12), rng.choice(SIGNALS), rng.random() < 0.2
        subject, args = self.bench.subject, [*self.train, "--steps", "200000"]
        command = f"{subject.spell(args, folder)}   # {number.name} after {lines} lines{', twice' if twice else ''}"
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                [str(subject.binary), *args],
                cwd=folder,
                env=subject.env,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            end = time.monotonic() + SECONDS
            # The handle is the process's own: only its descriptor is sought in, and it writes at its end.
            while (
                os.pread(err.fileno(), 1 << 16, 0).count(b"\n") < lines
                and time.monotonic() < end
                and process.poll() is None
            ):
                time.sleep(0.001)
            before = os.pread(err.fileno(), 1 << 16, 0)
            for _ in range(2 if twice else 1):
                if process.poll() is None:
                    process.send_signal(number)
                    time.sleep(rng.random() * 0.02)
            code, resident, late = (
                (process.returncode, 0, False) if process.returncode is not None else wait(process, SECONDS)
            )
            ended = Ended(args, code, read_ends(out), read_ends(err), 0.0, resident, late)
        stepped = b"\nstep " in before
        if late:
            yield Finding("hang", f"{number.name} does not end a training", command, notes=[ended.last_line])
            return
        if ended.crash and not (code == -number and (twice or not stepped)):
            yield Finding("crash", f"{ended.crash} after {number.name}", command, notes=[ended.last_line])
        elif code not in ENDINGS and code >= 0:
            yield Finding("crash", f"exit code {code} after {number.name}", command, notes=[ended.last_line])
        if (folder / "run" / "checkpoints").exists() and any((folder / "run" / "checkpoints").iterdir()):
            listed = subject.run(["checkpoints", "run", "--json"], folder)
            if listed.code != 0 and not twice:
                yield Finding(
                    "files", f"{number.name} leaves a checkpoint that is not whole", command, notes=[listed.last_line]
                )
        elif stepped and not twice:
            yield Finding(
                "files", f"{number.name} after the first step leaves no checkpoint", command, notes=[ended.last_line]
            )


@contextlib.contextmanager
def gone() -> Iterator[IO[bytes]]:
    """A pipe whose reader has closed it."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stream:
        yield stream
