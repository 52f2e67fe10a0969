#!/usr/bin/env python3
"""Writes sheet.png and labels.tsv from the npm package emoji-datasource-google.

    npm pack emoji-datasource-google@16.0.0 && tar xf emoji-datasource-google-16.0.0.tgz
    python3 make_labels.py package

The first line of labels.tsv names the categories. Each further line is one picture, in the order of its name:
name, cell of the sheet (62 * column + row), category, group. Pictures of one group are versions of one emoji (skin
tone, gender, direction, or the very same picture under two code points) and must stand in the same split.
Needs Pillow.
"""

import collections
import json
import shutil
import sys
from pathlib import Path

from PIL import Image

TONES = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}
# Female, male, and facing right, as they are appended to a base emoji.
SUFFIXES = ("-200D-2640", "-200D-2642", "-200D-27A1")
# Men, women and adults of the same kind that have code points of their own, within a sequence too.
SIBLINGS = {
    "1F468": "1F9D1", "1F469": "1F9D1",  # man, woman: adult
    "1F466": "1F9D2", "1F467": "1F9D2",  # boy, girl: child
    "1F474": "1F9D3", "1F475": "1F9D3",  # older man, woman: older adult
    "1F930": "1FAC4", "1FAC3": "1FAC4",  # pregnant woman, man: person
    "1F934": "1FAC5", "1F478": "1FAC5",  # prince, princess: person with crown
    "1F46C": "1F46B", "1F46D": "1F46B",  # two men, two women: two people holding hands
    "1F57A": "1F483",                    # man dancing: dancer
    "1F385": "1F936",                    # Father, Mother Christmas
}
SEQUENCES = {
    "1F9D1-200D-1F384": "1F936",                              # Mx Claus
    "1F9D1-200D-1F91D-200D-1F9D1": "1F46B",                   # people holding hands
    "1F9D1-200D-2764-200D-1F9D1": "1F491",                    # couple with heart
    "1F9D1-200D-2764-200D-1F48B-200D-1F9D1": "1F48F",         # kiss
}


def base(unified):
    """The code points of an emoji without what makes it a version of another."""
    points = unified.split("-")
    if len(points) > 1:
        points = [p for p in points if p not in TONES and p != "FE0F"]
    key = "-".join(SIBLINGS.get(p, p) for p in points)
    for suffix in SUFFIXES:
        key = key.replace(suffix, "")
    return SEQUENCES.get(key, key)


def main():
    package, here = Path(sys.argv[1]), Path(__file__).parent
    shutil.copyfile(package / "img/google/sheets-256/32.png", here / "sheet.png")
    sheet = Image.open(here / "sheet.png").convert("RGBA")
    emoji = [e for e in json.loads((package / "emoji.json").read_text()) if e["has_img_google"]]
    categories = sorted({e["category"] for e in emoji})

    parent = {}

    def find(key):
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    def join(a, b):
        parent[find(a)] = find(b)

    rows, pictures, of_unified = [], collections.defaultdict(list), {}
    for e in emoji:
        variants = [v for v in e.get("skin_variations", {}).values() if v["has_img_google"]]
        for v in [e, *variants]:
            key = base(e["unified"])
            of_unified[v["unified"]] = key
            x, y = v["sheet_x"], v["sheet_y"]
            left, top = 34 * x + 1, 34 * y + 1
            pictures[sheet.crop((left, top, left + 32, top + 32)).tobytes()].append(key)
            name = v["image"].removesuffix(".png")
            rows.append((name, 62 * x + y, categories.index(e["category"]), key, v.get("obsoletes")))
    for _, _, _, key, obsoletes in rows:
        if obsoletes:
            join(key, of_unified[obsoletes])
    for keys in pictures.values():
        for key in keys[1:]:
            join(key, keys[0])

    rows.sort()
    number = {}
    lines = ["\t".join(categories)]
    for name, cell, category, key, _ in rows:
        group = number.setdefault(find(key), len(number))
        lines.append(f"{name}\t{cell}\t{category}\t{group}")
    (here / "labels.tsv").write_text("\n".join(lines) + "\n")
    print(f"{len(rows)} pictures, {len(number)} groups, {len(categories)} categories")


if __name__ == "__main__":
    main()
