#!/usr/bin/env python3
"""Writes golden.json: pictures resampled by Pillow's Image.resize(size, resample, box). Needs Pillow.

Pillow 13 works down columns first where the height shrinks much more than the width; no such case is here.
"""

import json
import sys
from pathlib import Path

import PIL
from PIL import Image


def picture(width, height, channels):
    """Bytes from a formula that the Rust test repeats: smooth ramps with a hash's noise on top."""
    data = bytearray()
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                noise = ((x * 73856093) ^ (y * 19349663) ^ (c * 83492791)) % 97
                data.append((x * 5 + y * 3 + c * 50 + noise) % 256)
    return Image.frombytes("L" if channels == 1 else "RGB", (width, height), bytes(data))


CASES = [
    # width, height, channels, out width, out height, box or None
    (37, 29, 3, 8, 8, None),
    (96, 96, 3, 32, 32, None),
    (28, 28, 1, 14, 14, None),
    (31, 23, 1, 16, 9, None),
    (9, 11, 3, 24, 20, None),
    (500, 2, 3, 7, 2, None),
    (64, 64, 3, 9, 12, None),
    (50, 40, 3, 16, 16, (3.25, 4.75, 30.5, 32.0)),
    (50, 40, 1, 8, 8, (12.0, 0.0, 50.0, 37.125)),
    (20, 20, 3, 20, 20, (0.5, 0.0, 19.5, 20.0)),
    (1, 1, 3, 8, 8, None),
    # Steps that are no binary fractions, summed over many pixels.
    (333, 211, 1, 61, 64, None),
]


# What transformers' image processor may be told to use and igpt implements.
FILTERS = [Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC]


def main():
    cases = []
    for resample in FILTERS:
        for width, height, channels, out_width, out_height, box in CASES:
            out = picture(width, height, channels).resize((out_width, out_height), resample, box=box)
            cases.append({"resample": int(resample), "width": width, "height": height, "channels": channels,
                          "out_width": out_width, "out_height": out_height, "box": box, "data": out.tobytes().hex()})
    golden = {"pillow": PIL.__version__, "cases": cases}
    Path(__file__).with_name("golden.json").write_text(json.dumps(golden, indent=0) + "\n")


if __name__ == "__main__":
    sys.exit(main())
