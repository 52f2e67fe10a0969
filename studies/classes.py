"""Pictures of one class and of all others, for the study of odd images. Needs NumPy and Pillow.

    studies/classes.py digits DIGITS OUT [--seed N]
    studies/classes.py emoji OUT [--seed N]

DIGITS is OpenCV's digits.png (5,000 handwritten digits of 20×20 pixels; Debian's opencv-doc has it in examples/data); the emoji are
those in igpt. Writes OUT/{good,held,odd}: 240 digits, or half of a category of emoji, to learn; 200 others of the same
class at most; 200 of the other classes. The seed chooses the class. No emoji of `good` is another in a different colour of skin
of one of `held`.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image

DIGITS = [3, 1, 4, 8]
CATEGORIES = ["Flags", "Objects", "Symbols", "Travel & Places"]
ASSETS = pathlib.Path(__file__).parent.parent / "crates" / "igpt" / "assets" / "emoji"
# Rows of the sheet of emoji, and pixels from one to the next.
ROWS, PITCH = 62, 34


def digits(sheet, seed, rng):
    """Good, held and odd pictures."""
    sheet = Image.open(sheet)
    cell = lambda i: sheet.crop((i % 100 * 20, i // 100 * 20, i % 100 * 20 + 20, i // 100 * 20 + 20))
    cells = rng.permutation(5000)
    own = [i for i in cells if i // 500 == DIGITS[seed]]
    other = [i for i in cells if i // 500 != DIGITS[seed]]
    return [[cell(i) for i in part] for part in (own[:240], own[240:440], other[:200])]


def emoji(seed, rng):
    """Good, held and odd pictures."""
    sheet = Image.open(ASSETS / "sheet.png").convert("RGBA")
    categories, *lines = (ASSETS / "labels.tsv").read_text().splitlines()
    own = categories.split("\t").index(CATEGORIES[seed])
    rows = [tuple(map(int, line.split("\t")[1:])) for line in lines]
    groups = rng.permutation(sorted({group for _, category, group in rows if category == own}))
    good = set(groups[: len(groups) // 2])

    def cell(i):
        left, top = i // ROWS * PITCH + 1, i % ROWS * PITCH + 1
        white = Image.new("RGBA", (32, 32), "white")
        return Image.alpha_composite(white, sheet.crop((left, top, left + 32, top + 32))).convert("RGB")

    order = [rows[i] for i in rng.permutation(len(rows))]
    parts = (
        [i for i, category, group in order if category == own and group in good],
        [i for i, category, group in order if category == own and group not in good][:200],
        [i for i, category, _ in order if category != own][:200],
    )
    return [list(map(cell, part)) for part in parts]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["digits", "emoji"])
    parser.add_argument("paths", type=pathlib.Path, nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    *sheet, out = args.paths
    parts = digits(sheet[0], args.seed, rng) if args.kind == "digits" else emoji(args.seed, rng)
    for name, pictures in zip(("good", "held", "odd"), parts):
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(pictures):
            picture.save(folder / f"{i:03d}.png")
