"""Damaged pictures: `igpt data check` on folders of them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import ClassVar

from ..bench import TESTDATA, Bench, png_chunk
from ..kind import Kind
from ..mutate import EXTREMES, mutated, one_bit
from ..subject import Ended, Finding

SEQUENTIAL = {"baseline.jpg", "full.jpg", "grey.jpg", "cmyk.jpg"}
"""One scan with everything, which ends where the last block does."""
MANY_FRAMES = {"moving.gif", "moving.webp"}
"""Only the first frame counts, so that what is cut off may not matter."""


class Images(Kind):
    """A picture of every format, mutated. Some mutations leave no doubt that pixels are lost or changed: such a file
    must be called damaged."""

    name: ClassVar[str] = "images"
    share: ClassVar[int] = 400
    batch: ClassVar[int] = 50

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.seeds = {
            path.name: path.read_bytes() for path in sorted((TESTDATA / "fuzz").iterdir()) if path.suffix != ".py"
        }

    def make(self, number: int) -> tuple[str, bytes, str]:
        """A case: its file's name, its bytes, and why it must be called damaged ("" if it need not)."""
        rng = self.bench.rng(self.name, number)
        source = rng.choice(list(self.seeds))
        data, kind = self.seeds[source], source.split(".")[1]
        name = f"{number}.{kind}"
        way = rng.random()
        if way < 0.15 and source not in MANY_FRAMES:
            cut = len(data) - rng.randrange(len(data) // 10, len(data) - 16)
            return name, data[:cut], f"{kind} without its last {100 - 100 * cut // len(data)} %"
        if way < 0.25 and kind == "png":
            return name, broken_checksum(rng, data), "png with a wrong checksum in a critical chunk"
        if way < 0.3 and source in SEQUENTIAL:
            return name, cut_scan(rng, data), "jpg with an end in the midst of its scan"
        if way < 0.35 and source in SEQUENTIAL:
            # By chance zeros can be a picture that uses up the scan exactly.
            return name, zeroed_scan(rng, data), ""
        if way < 0.5 and kind == "png":
            return name, resealed(rng, data), ""
        return name, mutated(rng, data, self.seeds[rng.choice(list(self.seeds))]), ""

    def cases(self, first: int, count: int) -> Iterator[Finding]:
        """All at once; when something is wrong, those that may be its cause one by one."""
        made = {number: self.make(number) for number in range(first, first + count)}
        for doubtless in (True, False):
            batch = [number for number, (_, _, why) in made.items() if bool(why) == doubtless]
            with self.bench.folder(self.name, first) as folder:
                for number in batch:
                    name, data, _ = made[number]
                    (folder / name).write_bytes(data)
                ended = self.check(folder)
                wrong = any(self.bench.subject.judge(ended, folder)) or (doubtless and damaged(ended) != len(batch))
            for number in batch if wrong else ():
                yield from self.single(number)

    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """One picture alone in a folder."""
        name, data, why = self.make(number)
        (folder / name).write_bytes(data)
        ended = self.check(folder)
        yield from self.bench.subject.judge(ended, folder, name.split(".")[1])
        if why and ended.code == 0 and not damaged(ended):
            signature = re.sub("without its last .*", "cut off", why) + " is taken as whole"
            yield Finding("silent", signature, self.bench.subject.spell(ended.command, folder), notes=[why])

    def check(self, folder: Path) -> Ended:
        """Looks a folder through."""
        return self.bench.subject.run(["data", "check", "--data", str(folder), "--threads", "1", "--json"], folder)


def damaged(ended: Ended) -> int:
    """How many images were called damaged."""
    document = ended.json()
    try:
        count: int = document["found"]["damaged"]
    except (TypeError, KeyError):
        return 0
    return count


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """A sound PNG file's chunks: names and data."""
    at, found = 8, []
    while at < len(data):
        size = struct.unpack(">I", data[at : at + 4])[0]
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    return found


def broken_checksum(rng: Random, data: bytes) -> bytes:
    """A bit turned over in the data or checksum of a critical chunk."""
    at, places = 8, []
    for name, inside in chunks(data):
        if name in (b"IHDR", b"PLTE", b"IDAT"):
            places.append((at + 8, at + 12 + len(inside)))
        at += 12 + len(inside)
    return one_bit(rng, data, *rng.choice(places))


def scan(data: bytes) -> int:
    """Where the entropy-coded data of a JPEG file begin; they end two bytes before the file."""
    at = data.index(b"\xff\xda")
    return at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]


def cut_scan(rng: Random, data: bytes) -> bytes:
    """A JPEG file of which a tenth of the scan or more is missing, but not its end marker."""
    start = scan(data)
    kept = rng.randrange(start, start + (len(data) - 2 - start) * 9 // 10)
    return data[:kept] + b"\xff\xd9"


def zeroed_scan(rng: Random, data: bytes) -> bytes:
    """A JPEG file of whose scan a quarter to a half is zero, as after a download that left a hole."""
    start, end = scan(data), len(data) - 2
    length = rng.randrange((end - start) // 4, (end - start) // 2)
    at = rng.randrange(start, end - length)
    return data[:at] + bytes(length) + data[at + length :]


def resealed(rng: Random, data: bytes) -> bytes:
    """Chunks mutated, and their checksums made right again, so that what lies behind the checksum is reached."""
    found = chunks(data)
    for _ in range(rng.choice((1, 1, 2))):
        i = rng.randrange(len(found))
        name, inside = found[i]
        way = rng.random()
        if name == b"IHDR" and way < 0.6:
            sizes = [rng.choice((*EXTREMES, 12, 100000)) & 0xFFFFFFFF if rng.random() < 0.6 else 10 for _ in range(2)]
            inside = struct.pack(">II", *sizes) + bytes(inside[8:])
        elif way < 0.7 and inside:
            inside = mutated(rng, inside)
        elif way < 0.8:
            found.insert(i, rng.choice(found))
            continue
        elif way < 0.9:
            name = rng.choice((b"tRNS", b"PLTE", b"iCCP", b"zTXt", b"acTL", b"fdAT", b"eXIf", b"gAMA", b"IDAT"))
            found.insert(i, (name, rng.randbytes(rng.choice((0, 1, 8, 40)))))
            continue
        else:
            name = rng.randbytes(4)
        found[i] = (name, inside)
    return data[:8] + b"".join(png_chunk(name, inside) for name, inside in found)
