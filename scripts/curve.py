#!/usr/bin/env python3
"""Draws loss over minutes of one or several runs as an SVG, for documents. Needs nothing but Python.

    scripts/curve.py --out docs/images/curve.svg --level "unigram=2.18" --from 0.6 --to 1.2 name=runs/name ...
"""

import argparse
import json
import pathlib

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 360, 56, 150, 18, 40
COLORS = ["#3366cc", "#dc3912", "#109618", "#990099", "#ff9900"]


def validation(run):
    rows = map(json.loads, pathlib.Path(run, "metrics.jsonl").read_text().splitlines())
    return [(row["elapsed_s"] / 60, row["loss"]) for row in rows if row["split"] == "validation"]


def text(x, y, words, anchor="middle", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{words}</text>'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--out", required=True)
    parser.add_argument("--level", action="append", default=[], metavar="NAME=NATS")
    parser.add_argument("--from", dest="low", type=float, required=True)
    parser.add_argument("--to", dest="high", type=float, required=True)
    args = parser.parse_args()
    curves = [(name, validation(run)) for name, run in (run.split("=", 1) for run in args.runs)]
    minutes = max(x for _, curve in curves for x, _ in curve)
    px = lambda x: LEFT + (WIDTH - LEFT - RIGHT) * x / minutes
    py = lambda y: TOP + (HEIGHT - TOP - BOTTOM) * (args.high - y) / (args.high - args.low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for i in range(7):
        y = args.low + (args.high - args.low) * i / 6
        parts.append(f'<path d="M{LEFT} {py(y):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>' + text(LEFT - 6, py(y) + 4, f"{y:.2f}", "end"))
        x = minutes * i / 6
        parts.append(text(px(x), HEIGHT - BOTTOM + 18, f"{x:.0f}"))
    parts.append(text(px(minutes / 2), HEIGHT - 6, "minutes") + text(LEFT, TOP - 6, "validation nats/pixel", "start"))
    for level in args.level:
        name, value = level.rsplit("=", 1)
        y = py(float(value))
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#777" stroke-dasharray="5 4"/>')
        parts.append(text(WIDTH - RIGHT + 6, y + 4, f"{name} {value}", "start", 'fill="#777"'))
    for color, (name, curve) in zip(COLORS, curves):
        points = " ".join(f"{px(x):.1f},{py(min(y, args.high)):.1f}" for x, y in curve)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        x, y = curve[-1]
        parts.append(text(px(x) + 6, py(y) + 4, f"{name} {y:.4f}", "start", f'fill="{color}"'))
    pathlib.Path(args.out).write_text("\n".join(parts + ["</svg>\n"]))


if __name__ == "__main__":
    main()
