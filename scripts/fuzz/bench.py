"""What all kinds of a session share: the program, a folder to work in, and sound files to mutate, made once."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from random import Random

from .subject import Ended, Subject

REPOSITORY = Path(__file__).resolve().parents[2]
TESTDATA = REPOSITORY / "testdata"
NETWORK = ["--n-px", "8", "--set", "model.n_embd=16", "--set", "model.n_layer=1", "--set", "model.n_head=1"]
"""Flags of the smallest network."""
QUICK = ["--batch", "2", "--threads", "1", "--set", "train.sample_images=1", "--set", "train.eval_images=2"]


def png(width: int, height: int, pixels: bytes, colour: int = 2) -> bytes:
    """A PNG file of rows of bytes: RGB, or grey where `colour` is 0."""
    channels = 3 if colour == 2 else 1
    stride = width * channels
    rows = b"".join(b"\0" + pixels[y * stride : (y + 1) * stride] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, data) for name, data in chunks)


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file with its right checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


class Bench:
    """The program, a folder to work in, the seed, and sound files."""

    def __init__(self, subject: Subject, work: Path, seed: int) -> None:
        self.subject, self.work, self.seed = subject, work, seed

    def rng(self, kind: str, case: int) -> Random:
        """The generator of a case."""
        return Random(f"{self.seed}/{kind}/{case}")

    @contextmanager
    def folder(self, kind: str, case: int) -> Iterator[Path]:
        """An empty folder of a case, of the same name each time."""
        path = self.work / f"{kind}-{case}"
        remove_tree(path)
        path.mkdir()
        yield path

    def must(self, *args: str, cwd: Path | None = None) -> Ended:
        """Runs what has to succeed, or nothing can be fuzzed."""
        ended = self.subject.run(args, cwd or self.work, 120.0)
        if ended.code != 0:
            raise SystemExit(
                f"igpt {' '.join(args)} fails (exit code {ended.code}): {ended.err.decode(errors='replace')}"
            )
        return ended

    @cached_property
    def pictures(self) -> Path:
        """Two classes of six pictures of 8×8 pixels, none alike."""
        rng = Random(0)
        root = self.work / "pictures"
        for name in ("cat", "dog"):
            (root / name).mkdir(parents=True)
            for i in range(6):
                (root / name / f"{i}.png").write_bytes(png(8, 8, rng.randbytes(8 * 8 * 3)))
        return root

    @cached_property
    def run(self) -> Path:
        """A run directory with two checkpoints and a model."""
        path = self.work / "run"
        self.must(
            "pretrain",
            "--data",
            str(self.pictures),
            "--steps",
            "3",
            "--colors",
            "6",
            *NETWORK,
            *QUICK,
            "--out",
            str(path),
        )
        return path

    @cached_property
    def classifier(self) -> Path:
        """A run directory of a fine-tuned classifier."""
        path = self.work / "classifier"
        self.must(
            "finetune",
            "--model",
            str(self.run),
            "--data",
            str(self.pictures),
            "--steps",
            "2",
            *QUICK,
            "--out",
            str(path),
        )
        return path

    @cached_property
    def tokens(self) -> Path:
        """A token directory of the pictures."""
        path = self.work / "tokens"
        self.must(
            "data",
            "tokenize",
            "--data",
            str(self.pictures),
            "--palette",
            str(self.run),
            "--n-px",
            "8",
            "--out",
            str(path),
        )
        return path


def copy_tree(source: Path, target: Path) -> None:
    """A copy whose files are its own."""
    shutil.copytree(source, target, symlinks=True)


def remove_tree(path: Path) -> None:
    """Removes a folder or file if it is there, whatever its permissions."""
    if path.is_dir() and not path.is_symlink():
        for below in path.rglob("*"):
            if below.is_dir() and not below.is_symlink():
                below.chmod(0o700)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
