"""Settings: TOML files and --set, with every key and extreme values."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from ..bench import Bench
from ..kind import Kind
from ..mutate import mutated
from ..subject import Finding, not_finite

VALUES = [
    "0", "-1", "1", "2", "3", "5", "64", "0.5", "-0.0", "1e-320", "1e308", "-1e308", "nan", "inf", "-inf", "1048576",
    "2147483648", "4294967296", "9223372036854775807", "-9223372036854775808", "18446744073709551615", "1e400",
    '""', '"x"', '"\\u001b[2J"', '"../../x"', '"' + "é" * 500 + '"', "[]", "[1]", "[" * 3000 + "]" * 3000, "{}",
    "{a = 1}", "true", "false", "1979-05-27", "", "=",
]  # fmt: skip
LONG = {f"train.{key}" for key in ("steps", "epochs", "minutes", "batch", "sample_images", "eval_images")}
"""More of these rightly means more work: not being done soon is no finding."""
MORE_KEYS = [
    "train.epochs",
    "train.minutes",
    "train.recompute",
    "train.stream_weights",
    "train.mask_prob",
    "model.x",
    "x.y",
    "train",
]


class Configs(Kind):
    """One to three keys with values out of their range, through `plan` or one step of `pretrain`. A training that
    succeeds must have figures that are numbers."""

    name: ClassVar[str] = "configs"
    share: ClassVar[int] = 70

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.config = tomllib.loads((bench.run / "config.resolved.toml").read_text())
        self.config = {section: dict(flat(values)) for section, values in self.config.items()}
        self.config["palette"] = {"colors": 6}
        self.config["data"]["spec"] = str(bench.pictures)
        self.config["train"] |= {"steps": 1, "batch": 2, "threads": 1, "sample_images": 1, "eval_images": 2}
        self.keys = [f"{section}.{key}" for section, values in self.config.items() for key in values] + MORE_KEYS
        (bench.work / "clean.toml").write_text(toml(self.config))
        clean = bench.must("pretrain", "--config", "clean.toml", "--out", "clean-config", "--json")
        self.allowed = set(not_finite(clean.json()))

    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """Settings from a file or flags."""
        config = {
            section: {key: spell(value) for key, value in values.items()} for section, values in self.config.items()
        }
        chosen = [(rng.choice(self.keys), rng.choice(VALUES)) for _ in range(rng.choice((1, 1, 2, 3)))]
        flags: list[str] = []
        for key, value in chosen:
            section, _, name = key.partition(".")
            if rng.random() < 0.5 and value:
                flags += ["--set", f"{key}={value.strip(chr(34)) if rng.random() < 0.3 else value}"]
            else:
                config.setdefault(section, {})[name or "x"] = value
        text = "".join(
            f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
            for section, values in config.items()
        )
        data = text.encode()
        (folder / "config.toml").write_bytes(mutated(rng, data) if rng.random() < 0.1 else data)
        args = ["plan", "--seconds", "0.01", "--json"] if rng.random() < 0.5 else ["pretrain", "--out", "run", "--json"]
        args += ["--config", "config.toml", *flags]
        subject = self.bench.subject
        long = any(key in LONG for key, _ in chosen)
        ended = subject.run(args, folder, 4.0 if long else 20.0)
        if long and ended.timed_out and not ended.crash:
            return
        about = "" if ended.crash else ", ".join(sorted(key for key, _ in chosen))
        yield from subject.judge(ended, folder, about)
        if (
            ended.code == 0
            and args[0] == "pretrain"
            and (wrong := sorted(set(not_finite(ended.json())) - self.allowed))
        ):
            yield Finding(
                "silent",
                f"pretrain succeeds with no number at {', '.join(wrong[:3])} ({about})",
                subject.spell(args, folder),
            )


def flat(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """A section whose sections in it are dotted keys."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in flat(value))
        else:
            yield key, value


def spell(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value)


def toml(config: dict[str, dict[str, Any]]) -> str:
    """Sections of plain values as TOML."""
    return "".join(
        f"[{section}]\n" + "".join(f"{key} = {spell(value)}\n" for key, value in values.items())
        for section, values in config.items()
    )
