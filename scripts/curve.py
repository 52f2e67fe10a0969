#!/usr/bin/env python3
"""Draws validation loss over minutes or images as an SVG, for documents. Needs nothing but Python.

    scripts/curve.py --out docs/images/curve.svg --level unigram=2.18 --from 0.6 --to 1.2 name=runs/name other=runs/a,runs/b

Runs with a comma between them are seeds of one curve: their mean is drawn, with the range of all. Minutes are those of
the run; NAME@SECONDS=RUN takes them from the steps instead, at so many seconds a step, for runs on a shared machine.
"""

import argparse
import json
import pathlib

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 360, 56, 150, 18, 40
COLORS = ["#3366cc", "#dc3912", "#109618", "#990099", "#ff9900", "#0099c6"]


def validation(run, unit, pace):
    """The run's (x, nats per pixel), x in minutes or images."""
    rows = list(map(json.loads, pathlib.Path(run, "metrics.jsonl").read_text().splitlines()))
    batch = next(line for line in pathlib.Path(run, "config.resolved.toml").read_text().splitlines() if line.startswith("batch ="))
    per_step = int(batch.split("=")[1])
    x = {
        "images": lambda row: row["step"] * per_step,
        "minutes": lambda row: (row["step"] * pace if pace else row["elapsed_s"]) / 60,
    }[unit]
    return [(x(row), row["loss"]) for row in rows if row["split"] == "validation"]


def seeds(curves):
    """(x, mean, lowest, highest) where every seed was validated."""
    return [
        (sum(x for x, _ in point) / len(point), sum(y for _, y in point) / len(point), min(y for _, y in point), max(y for _, y in point))
        for point in zip(*curves)
    ]


def curve(argument, unit):
    name, runs = argument.split("=", 1)
    name, _, pace = name.partition("@")
    return name, seeds([validation(run, unit, float(pace or 0)) for run in runs.split(",")])


def text(x, y, words, anchor="middle", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{words}</text>'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME[@SECONDS]=RUN[,RUN...]")
    parser.add_argument("--out", required=True)
    parser.add_argument("--x", choices=["minutes", "images"], default="minutes")
    parser.add_argument("--level", action="append", default=[], metavar="NAME=NATS")
    parser.add_argument("--from", dest="low", type=float, required=True)
    parser.add_argument("--to", dest="high", type=float, required=True)
    args = parser.parse_args()
    curves = [curve(run, args.x) for run in args.runs]
    longest = max(point[0] for _, points in curves for point in points)
    px = lambda x: LEFT + (WIDTH - LEFT - RIGHT) * x / longest
    py = lambda y: TOP + (HEIGHT - TOP - BOTTOM) * (args.high - min(y, args.high)) / (args.high - args.low)
    line = lambda points: " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in points)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for i in range(7):
        y = args.low + (args.high - args.low) * i / 6
        parts.append(f'<path d="M{LEFT} {py(y):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>' + text(LEFT - 6, py(y) + 4, f"{y:.2f}", "end"))
        x = longest * i / 6
        parts.append(text(px(x), HEIGHT - BOTTOM + 18, f"{x:,.0f}" if longest >= 12 else f"{x:.1f}"))
    parts.append(text(px(longest / 2), HEIGHT - 6, args.x) + text(LEFT, TOP - 6, "validation nats/pixel", "start"))
    for level in args.level:
        name, value = level.rsplit("=", 1)
        y = py(float(value))
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#777" stroke-dasharray="5 4"/>')
        parts.append(text(WIDTH - RIGHT + 6, y + 4, f"{name} {value}", "start", 'fill="#777"'))
    for color, (name, points) in zip(COLORS, curves):
        band = [(x, low) for x, _, low, _ in points] + [(x, high) for x, _, _, high in reversed(points)]
        parts.append(f'<polygon points="{line(band)}" fill="{color}" opacity="0.25"/>')
        parts.append(f'<polyline points="{line((x, y) for x, y, *_ in points)}" fill="none" stroke="{color}" stroke-width="2"/>')
        x, y, *_ = points[-1]
        parts.append(text(px(x) + 6, py(y) + 4, f"{name} {y:.4f}", "start", f'fill="{color}"'))
    pathlib.Path(args.out).write_text("\n".join(parts + ["</svg>\n"]))


if __name__ == "__main__":
    main()
