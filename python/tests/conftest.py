"""Images and models that the tests share. The package brings all of them: no test needs the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import igpt
import numpy as np
import pytest
from shared import QUICK


@pytest.fixture(scope="session")
def model() -> igpt.Model:
    """The emoji model that comes with the package."""
    return igpt.load()


@pytest.fixture(scope="session")
def emoji() -> np.ndarray:
    """Twelve emoji, uint8 (12, 32, 32, 3)."""
    images = igpt.data.load("emoji", "test").images
    assert isinstance(images, np.ndarray)
    return np.ascontiguousarray(images[::31][:12])


@pytest.fixture(scope="session")
def many() -> np.ndarray:
    """Eighty emoji to train on, uint8 (80, 32, 32, 3)."""
    images = igpt.data.load("emoji", "train").images
    assert isinstance(images, np.ndarray)
    return np.ascontiguousarray(images[::30][:80])


@pytest.fixture(scope="session")
def labels() -> np.ndarray:
    """A class for each of the eighty emoji: bright or dark, int64 (80,)."""
    images = igpt.data.load("emoji", "train").images
    assert isinstance(images, np.ndarray)
    brightness = images[::30][:80].mean((1, 2, 3))
    return (brightness > np.median(brightness)).astype(np.int64)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, many: np.ndarray) -> Path:
    """A finished run of a very small network."""
    out = tmp_path_factory.mktemp("runs") / "small"
    igpt.pretrain(many, out, steps=6, **QUICK)
    return out


@pytest.fixture(scope="session")
def small(run: Path) -> igpt.Model:
    """A very small network, hardly trained."""
    return igpt.load(run)


@pytest.fixture(scope="session")
def classifier(small: igpt.Model, many: np.ndarray, labels: np.ndarray) -> igpt.Model:
    """A very small classifier, hardly trained."""
    return igpt.finetune(small, many, labels, steps=6, batch=4, progress=False, settings={"train.eval_images": 8})


@pytest.fixture(scope="session")
def masked(many: np.ndarray) -> igpt.Model:
    """A very small model of masked pixels, hardly trained."""
    return igpt.pretrain(many, steps=3, objective="masked", **QUICK)


@pytest.fixture(scope="session")
def exact() -> Any:
    """A palette of 64 colours, and images of these colours only: what is quantized comes back as it was given."""
    levels = np.array([0, 60, 170, 255], np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    images = np.random.default_rng(0).permuted(np.tile(colors, (5, 1)).reshape(5, 64, 3), axis=1).reshape(5, 8, 8, 3)
    return igpt.Palette.fit(images, colors=64), images
