"""Damaged published data sets: MNIST's IDX files, CIFAR and STL-10, packed and unpacked."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import ClassVar

from ..kind import Kind
from ..mutate import EXTREMES, mutated, one_bit
from ..subject import Finding

CIFAR_10 = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
BOMB = 3 << 29
"""Bytes that a bomb unpacks to: more than a run may take."""


@lru_cache
def idx_files() -> dict[str, bytes]:
    """MNIST with a few pictures."""
    rng, files = Random(1), {}
    for part, n in (("train", 12), ("t10k", 4)):
        files[f"{part}-images-idx3-ubyte"] = struct.pack(">IIII", 0x803, n, 28, 28) + rng.randbytes(n * 784)
        files[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 0x801, n) + bytes(i % 10 for i in range(n))
    return files


@lru_cache
def bundles() -> dict[str, tuple[str, str, dict[str, bytes]]]:
    """Sets that come as one archive: its name, its folder and its files."""
    rng = Random(2)
    cifar10 = {name: b"".join(bytes([i]) + rng.randbytes(3072) for i in range(3)) for name in CIFAR_10}
    cifar100 = {
        name: b"".join(bytes([0, i]) + rng.randbytes(3072) for i in range(4)) for name in ("test.bin", "train.bin")
    }
    stl10 = {f"{part}_X.bin": rng.randbytes(4 * 27648) for part in ("test", "train")}
    stl10 |= {f"{part}_y.bin": bytes((1, 2, 3, 10)) for part in ("test", "train")}
    return {
        "cifar10": ("cifar-10-binary.tar.gz", "cifar-10-batches-bin", cifar10),
        "cifar100": ("cifar-100-binary.tar.gz", "cifar-100-binary", cifar100),
        "stl10": ("stl10_binary.tar.gz", "stl10_binary", stl10),
    }


@lru_cache
def bomb() -> bytes:
    """A gzip file that unpacks to nothing but zeros, very many."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 26)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * (BOMB >> 26)


class Archives(Kind):
    """Files of a published set mutated inside or outside of their compression. What gzip calls damaged is refused."""

    name: ClassVar[str] = "archives"
    share: ClassVar[int] = 40

    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """A data set and a look through it."""
        which = rng.choice(("mnist", "mnist", *bundles()))
        doubtless = self.idx(rng, folder) if which == "mnist" else self.bundle(rng, folder, which)
        args = ["data", "check", "--data", which, "--data-dir", str(folder), "--threads", "1", "--json"]
        subject = self.bench.subject
        ended = subject.run(args, folder)
        yield from subject.judge(ended, folder, which)
        if doubtless and ended.code == 0:
            yield Finding("silent", f"{which} is used although {doubtless}", subject.spell(args, folder))

    def idx(self, rng: Random, folder: Path) -> str:
        """MNIST's four files, one of them mutated; why that must be refused."""
        files, doubtless = dict(idx_files()), ""
        name, way = rng.choice(list(files)), rng.random()
        packed = way < 0.6
        if way < 0.3:
            data, doubtless = damaged_gzip(rng, gzip.compress(files[name], 6, mtime=0))
        elif way < 0.32:
            data = bomb()
        else:
            data = files[name]
            if rng.random() < 0.5:
                at = 4 * rng.randrange(4)
                data = data[:at] + struct.pack(">I", rng.choice(EXTREMES) & 0xFFFFFFFF) + data[at + 4 :]
            else:
                data = mutated(rng, data)
            data = gzip.compress(data, 6, mtime=0) if packed else data
        for other, content in files.items():
            if other != name:
                (folder / other).write_bytes(content)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(data)
        return doubtless

    def bundle(self, rng: Random, folder: Path, which: str) -> str:
        """An archive of a set, or its unpacked folder, mutated; why that must be refused."""
        archive, inside, files = bundles()[which]
        way = rng.random()
        if way < 0.2:
            (folder / inside).mkdir()
            changed = rng.choice(list(files))
            for name, data in files.items():
                (folder / inside / name).write_bytes(mutated(rng, data) if name == changed else data)
            return ""
        packed, doubtless = packed_tar(which), ""
        if way < 0.6:
            packed, doubtless = damaged_gzip(rng, packed)
        elif way < 0.62:
            packed = bomb()
        else:
            packed = gzip.compress(mutated_tar(rng, gzip.decompress(packed)), 1, mtime=0)
        (folder / archive).write_bytes(packed)
        return doubtless


@lru_cache
def packed_tar(which: str) -> bytes:
    """A set's archive."""
    _, inside, files = bundles()[which]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"{inside}/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


def damaged_gzip(rng: Random, packed: bytes) -> tuple[bytes, str]:
    """A gzip file damaged somewhere behind its header, and what Python's zlib says of it."""
    way = rng.random()
    if way < 0.5:
        packed = one_bit(rng, packed, 10)
    elif way < 0.7:
        packed = one_bit(rng, packed, len(packed) - 8)
    else:
        packed = packed[: rng.randrange(10, len(packed))]
    unpacker = zlib.decompressobj(31)
    try:
        unpacker.decompress(packed)
    except zlib.error:
        return packed, "its gzip data are damaged"
    return packed, "" if unpacker.eof else "its gzip data are cut off"


def mutated_tar(rng: Random, tar: bytes) -> bytes:
    """A tar file with a header's field mutated, and its checksum made right again."""
    headers = [at for at in range(0, len(tar), 512) if tar[at + 257 : at + 262] == b"ustar"]
    at, data = rng.choice(headers), bytearray(tar)
    field, values = rng.choice(
        (
            (
                slice(124, 136),
                [b"77777777777\0", b"00000000000\0", b"\x80" + b"\xff" * 11, b"-0000000001\0", b"00000006000\0"],
            ),
            (slice(156, 157), [b"1", b"2", b"5", b"3", b"6", b"L", b"x", b"S", b"\0"]),
            (
                slice(0, 100),
                [
                    b"../../../x".ljust(100, b"\0"),
                    b"/etc/x".ljust(100, b"\0"),
                    b"\x1b[2J".ljust(100, b"\0"),
                    b"a" * 100,
                ],
            ),
        )
    )
    data[at + field.start : at + field.stop] = rng.choice(values)
    header = data[at : at + 148] + b" " * 8 + data[at + 156 : at + 512]
    data[at + 148 : at + 156] = f"{sum(header):06o}\0 ".encode()
    return bytes(data) if rng.random() < 0.8 else mutated(rng, bytes(data))
