"""The program beside the package: the same numbers to the last bit."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import igpt
import numpy as np
import pytest
from shared import program, same


def test_features_are_those_of_the_program_to_the_bit(model: igpt.Model, emoji: np.ndarray, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "images").mkdir()
    for i, pixels in enumerate(emoji):
        image.fromarray(pixels).save(tmp_path / "images" / f"{i:02}.png")
    ran = program("embed", "--data", tmp_path / "images", "--out", tmp_path / "x.npy")
    assert ran.returncode == 0, ran.stderr
    assert same(model.features(emoji), np.load(tmp_path / "x.npy"))


def test_features_of_a_data_set_are_those_of_the_program(run: Path, tmp_path: Path) -> None:
    ran = program("embed", "--model", run, "--data", "emoji", "--split", "test", "--out", tmp_path / "x.npy")
    assert ran.returncode == 0, ran.stderr
    assert same(igpt.load(run).features(igpt.data.load("emoji", "test").images), np.load(tmp_path / "x.npy"))


def test_features_of_chosen_layers_are_those_of_the_program(run: Path, tmp_path: Path) -> None:
    for pool in ("max", "last", "none"):
        out = tmp_path / f"{pool}.npy"
        ran = program(
            "embed", "--model", run, "--split", "validation", "--layers", "1,0", "--pool", pool, "--out", out
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        images = igpt.data.load("emoji", "validation").images
        assert same(igpt.load(run).features(images, layers=[1, 0], pool=pool), np.load(out))


def test_the_mean_log_likelihood_is_that_of_the_program(run: Path) -> None:
    ran = program("eval", "--model", run, "--data", "emoji", "--split", "test", "--json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    nats = igpt.load(run).log_likelihood(igpt.data.load("emoji", "test").images)
    assert found["images"] == len(nats)
    assert found["nats_per_image"] == -sum(nats.tolist()) / len(nats)


def test_the_log_likelihood_of_each_image_is_that_of_the_program(run: Path, tmp_path: Path) -> None:
    ran = program("score", "--model", run, "--data", "emoji", "--split", "test", "--top", "1", "--out", tmp_path / "s")
    assert ran.returncode == 0, ran.stderr
    with (tmp_path / "s" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = sorted(float(row["nats"]) for row in rows)
    nats = sorted(-igpt.load(run).log_likelihood(igpt.data.load("emoji", "test").images))
    # The table has three decimals.
    np.testing.assert_allclose(found, nats, rtol=0, atol=0.00051)


def test_samples_are_those_of_the_program(run: Path, tmp_path: Path) -> None:
    ran = program("sample", "--model", run, "--images", "3", "--seed", "3", "--out", tmp_path / "x.npy")
    assert ran.returncode == 0, ran.stderr
    assert same(igpt.load(run).sample(3, seed=3), np.load(tmp_path / "x.npy"))


def test_training_is_that_of_the_program(tmp_path: Path) -> None:
    settings = {"model.n_embd": 16, "model.n_layer": 1, "model.n_head": 2, "train.eval_images": 8}
    flags = [flag for key, value in settings.items() for flag in ("--set", f"{key}={value}")]
    ran = program(
        "pretrain", "--data", "emoji", "--n-px", "8", "--colors", "16", "--batch", "4", "--steps", "3", "--seed", "2",
        *flags, "--out", tmp_path / "program",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    igpt.pretrain(
        "emoji", tmp_path / "package", n_px=8, colors=16, batch=4, steps=3, seed=2, settings=settings, progress=False
    )
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("program", "package")]
    assert weights[0] == weights[1]


def test_the_program_has_the_version_of_the_package() -> None:
    ran = program("--version")
    assert ran.returncode == 0
    assert ran.stdout == f"igpt {igpt.__version__}\n"


def test_wrong_usage_and_failures_have_exit_codes_of_their_own(tmp_path: Path) -> None:
    assert program("sample", "--no-such-flag").returncode == 2
    assert program("no-such-verb").returncode == 2
    failed = program("eval", "--model", tmp_path / "nothing")
    assert failed.returncode == 1
    assert "nothing" in failed.stderr
    assert program("--help").returncode == 0


def test_the_command_is_installed_beside_python() -> None:
    command = Path(sys.executable).with_name("igpt")
    if not command.exists():
        pytest.skip("the package is not installed beside this Python")
    ran = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, f"igpt {igpt.__version__}\n")
