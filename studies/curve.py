#!/usr/bin/env python3
"""Draws validation loss over minutes or images as an SVG, for documents. Needs nothing but Python.

    studies/curve.py --out docs/images/curve.svg --level unigram=2.18 --from 0.6 --to 1.2 name=runs/name other=runs/a,runs/b

Runs with a comma between them are seeds of one curve: their mean is drawn, with its 95 % interval. Minutes are those of
the run; NAME@SECONDS=RUN takes them from the steps instead, at so many seconds a step, for runs on a shared machine.
With --record FILE a RUN is an arm of a study in studies/records.
"""

import argparse
import functools
import json
import pathlib
import re

from study import mean_and_reach

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 360, 56, 150, 18, 40
COLORS = ["#3366cc", "#dc3912", "#109618", "#990099", "#ff9900", "#0099c6"]


def recorded(record, arm):
    """The validations of an arm and its images a step."""
    if "curve" not in record.get(arm, {}):
        raise SystemExit(f"{arm} has no curve in the record")
    return record[arm]["curve"], re.search(r"batch[= ](\d+)", record[arm]["command"])[1]


def read(run):
    """The validations of a run directory and its images a step."""
    rows = map(json.loads, pathlib.Path(run, "metrics.jsonl").read_text().splitlines())
    config = pathlib.Path(run, "config.resolved.toml").read_text()
    return [row for row in rows if row["split"] == "validation"], re.search(r"^batch = (\d+)", config, re.M)[1]


def validation(rows, images, unit, pace):
    """(x, nats per pixel), x in minutes or images."""
    if unit == "minutes" and not pace and "elapsed_s" not in rows[0]:
        raise SystemExit("a record has no minutes: say NAME@SECONDS of a step")
    x = {
        "images": lambda row: row["step"] * int(images),
        "minutes": lambda row: (row["step"] * pace if pace else row["elapsed_s"]) / 60,
    }[unit]
    return [(x(row), row["loss"]) for row in rows]


def seeds(curves):
    """(x, mean, low, high) where every seed was validated."""
    for point in zip(*curves):
        mean, reach = mean_and_reach([y for _, y in point])
        yield sum(x for x, _ in point) / len(point), mean, mean - reach, mean + reach


def curve(argument, unit, read):
    name, runs = argument.split("=", 1)
    name, _, pace = name.partition("@")
    return name, list(seeds([validation(*read(run), unit, float(pace or 0)) for run in runs.split(",")]))


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
    parser.add_argument("--record", type=pathlib.Path)
    args = parser.parse_args()
    record = json.loads(args.record.read_text()) if args.record else None
    curves = [curve(run, args.x, functools.partial(recorded, record) if record else read) for run in args.runs]
    longest = max(point[0] for _, points in curves for point in points)
    px = lambda x: LEFT + (WIDTH - LEFT - RIGHT) * x / longest
    py = lambda y: TOP + (HEIGHT - TOP - BOTTOM) * (args.high - min(max(y, args.low), args.high)) / (args.high - args.low)
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
