"""Outputs to places that are taken, full, or no files."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import ClassVar

from ..bench import NETWORK, QUICK, Bench
from ..kind import Kind
from ..subject import Ended, Finding

OLD = b"what was there before\n" * 400
FREE = 1 << 40


class Outputs(Kind):
    """A verb whose --out exists, is a folder, a device, a pipe or a link, or does not fit on the disk (a limit on the
    size of files stands for it). What was there stays, or is replaced by something whole; nothing partial is left."""

    name: ClassVar[str] = "outputs"
    share: ClassVar[int] = 15

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        run, data = ["--model", str(bench.run)], ["--data", str(bench.pictures)]
        one = ["--threads", "1"]
        self.files: dict[str, list[str]] = {
            "x.npy": ["sample", *run, "-n", "128", *one],
            "x.png": ["sample", *run, "-n", "64", *one],
            "c.png": ["complete", *run, *data, "--split", "all", "-n", "8", *one],
            "e.npy": ["embed", *run, *data, "--pool", "none", *one],
            "e.csv": ["embed", *run, *data, "--pool", "none", *one],
            "e.parquet": ["embed", *run, *data, "--pool", "none", *one],
            "p.npy": ["palette", "fit", *data, "--colors", "200", *one],
            "preprocessor_config.json": ["palette", "fit", *data, "--colors", "200", *one],
            "swatch.png": ["palette", "inspect", "--palette", str(bench.run), *data, *one],
            "check.html": ["data", "check", *data, *one],
            "report.html": ["report", str(bench.run), *data, "--images", "2", "--probe-images", "0", *one],
        }
        self.folders: dict[str, list[str]] = {
            "scores": ["score", *run, *data, "--split", "all", *one],
            "audit": ["audit", *run, *data, "-n", "1", "--held-out", "1", *one],
            "tokens": ["data", "tokenize", *data, "--palette", str(bench.run), "--n-px", "8", *one],
            "run": ["pretrain", *data, "--steps", "2", "--colors", "6", *NETWORK, *QUICK],
        }

    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """A verb and a place."""
        if rng.random() < 0.25:
            name = rng.choice(list(self.folders))
            yield from self.into_folder(rng, folder, name)
            return
        name = rng.choice(list(self.files))
        place = rng.choice(
            (
                "full",
                "full",
                "full",
                "taken",
                "taken",
                "folder",
                "device",
                "pipe",
                "link",
                "below a file",
                "/proc",
                "fails",
            )
        )
        target, args = folder / name, [*self.files[name], "--out", name]
        if place in ("full", "taken", "fails") and (place != "full" or rng.random() < 0.7):
            target.write_bytes(OLD)
        elif place == "folder":
            target.mkdir()
        elif place == "device":
            try:
                os.mknod(target, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
            except PermissionError:
                return
        elif place == "pipe":
            os.mkfifo(target)
        elif place == "link":
            (folder / "target").write_bytes(OLD)
            target.symlink_to("target")
        elif place == "below a file":
            (folder / "file").write_bytes(OLD)
            args[-1] = f"file/{name}"
        elif place == "/proc":
            args[-1] = f"/proc/none/{name}"
        if place == "fails":
            args[args.index("--model") + 1 if "--model" in args else args.index("--data") + 1] = "missing"
        before = {path.name for path in folder.iterdir()}
        with reader(target) if place == "pipe" else contextlib.nullcontext():
            ended = self.run(args, folder, rng.choice((2000, 3000, 5000)) if place == "full" else FREE)
        yield from self.bench.subject.judge(ended, folder, f"--out {place}")
        yield from self.left(ended, folder, name, place, before)

    def run(self, args: list[str], folder: Path, size: int) -> Ended:
        """Runs with a limit on the size of files."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            return self.bench.subject.run(args, folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    def left(self, ended: Ended, folder: Path, name: str, place: str, before: set[str]) -> Iterator[Finding]:
        """What is wrong with the files afterwards."""
        command, target = self.bench.subject.spell(ended.command, folder), folder / name
        verb = " ".join(ended.command[: 2 if ended.command[0] in ("data", "palette") else 1])
        about = f"{verb} --out {re.sub('.*[.]', '*.', name)}, {place}"
        mode = target.lstat().st_mode if target.is_symlink() or target.exists() else 0
        if place == "device" and not stat.S_ISCHR(mode):
            yield Finding("files", f"a device is replaced by a file ({about})", command)
        if ended.code != 0 and name in before and stat.S_ISREG(mode) and target.read_bytes() != OLD:
            yield Finding("files", f"fails and destroys what was there ({about})", command, notes=[ended.last_line])
        if ended.code != 0 and name in before and not mode:
            yield Finding("files", f"fails and removes what was there ({about})", command, notes=[ended.last_line])
        if ended.code != 0 and (fresh := {path.name for path in folder.iterdir()} - before):
            names = ", ".join(sorted(re.sub(r"\d+", "N", path) for path in fresh))
            yield Finding("files", f"fails and leaves {names} ({about})", command, notes=[ended.last_line])
        if ended.code == 0 and stat.S_ISREG(mode) and target.read_bytes()[: len(OLD)] == OLD:
            yield Finding("files", f"succeeds but writes nothing ({about})", command)
        if ended.code == 0 and (
            odd := {path.name for path in folder.iterdir() if path.suffix in (".tmp", ".part", ".new")}
        ):
            yield Finding("files", f"leaves {', '.join(sorted(odd))} ({about})", command)

    def into_folder(self, rng: Random, folder: Path, name: str) -> Iterator[Finding]:
        """A verb that writes a folder: where a file is, below a file, or onto a disk that is full."""
        place = rng.choice(("full", "full", "taken", "below a file"))
        args = [*self.folders[name], "--out", name]
        if place == "taken":
            (folder / name).write_bytes(OLD)
        elif place == "below a file":
            (folder / "file").write_bytes(OLD)
            args[-1] = f"file/{name}"
        ended = self.run(args, folder, rng.choice((2000, 5000, 20000, 50000)) if place == "full" else FREE)
        yield from self.bench.subject.judge(ended, folder, f"--out {place}")
        if place == "taken" and (ended.code == 0 or (folder / name).read_bytes() != OLD):
            yield Finding("files", f"replaces a file by a folder ({name})", self.bench.subject.spell(args, folder))
        for path in (folder / name).rglob("*.png") if place == "full" else ():
            if not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
                yield Finding(
                    "files",
                    f"leaves a partial picture ({name})",
                    self.bench.subject.spell(args, folder),
                    notes=[str(path)],
                )


@contextlib.contextmanager
def reader(path: Path) -> Iterator[None]:
    """Reads a named pipe, as the program on its other side would."""
    handle, done = os.open(path, os.O_RDONLY | os.O_NONBLOCK), threading.Event()

    def read() -> None:
        while not done.is_set():
            with contextlib.suppress(BlockingIOError):
                os.read(handle, 1 << 20)
            done.wait(0.002)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        os.close(handle)
