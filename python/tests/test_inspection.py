"""Odd images."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import igpt
import numpy as np
import pytest
from shared import program, same


@pytest.fixture(scope="module")
def good() -> np.ndarray:
    """Emoji that stand for good images, uint8 (200, 32, 32, 3)."""
    images = igpt.data.load("emoji", "train").images
    assert isinstance(images, np.ndarray)
    return images[::10][:200]


@pytest.fixture(scope="module")
def judge(run: Path, good: np.ndarray) -> igpt.Model:
    model = igpt.load(run / "model")
    assert model.fit_inspection(good) is model
    return model


def test_images_get_a_score_a_percentile_and_a_verdict(judge: igpt.Model, emoji: np.ndarray) -> None:
    found = judge.inspect(emoji)
    for column in (found.scores, found.percentiles, found.p_values):
        assert (column.dtype, column.shape) == (np.float64, (12,))
        assert np.isfinite(column).all()
    assert ((found.percentiles >= 0) & (found.percentiles <= 100)).all()
    assert ((found.p_values > 0) & (found.p_values <= 1)).all()
    assert (found.odd.dtype, found.odd.shape) == (np.bool_, (12,))
    assert isinstance(found.threshold, float)
    assert np.array_equal(found.odd, found.scores > found.threshold)
    assert len(found.maps) == 12
    assert all(one.dtype == np.float32 and one.ndim == 2 for one in found.maps)


def test_the_higher_a_score_the_rarer_it_is_among_good_images(judge: igpt.Model, emoji: np.ndarray) -> None:
    found = judge.inspect(emoji)
    order = found.scores.argsort()
    assert (np.diff(found.percentiles[order]) >= 0).all()
    assert (np.diff(found.p_values[order]) <= 0).all()
    assert len(np.unique(found.scores)) == 12


def test_the_rate_of_false_alarms_moves_the_threshold(judge: igpt.Model, emoji: np.ndarray) -> None:
    strict, lax = judge.inspect(emoji, false_alarms=0.1), judge.inspect(emoji, false_alarms=0.5)
    assert lax.threshold <= strict.threshold
    assert same(strict.scores, lax.scores)
    assert lax.odd.sum() >= strict.odd.sum()


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_that_is_none_is_refused(judge: igpt.Model, emoji: np.ndarray, rate: float) -> None:
    with pytest.raises(ValueError, match="(?i)alarm"):
        judge.inspect(emoji[:1], false_alarms=rate)


def test_a_model_keeps_what_it_was_fitted_to(judge: igpt.Model, emoji: np.ndarray, tmp_path: Path) -> None:
    judge.save(tmp_path / "model")
    for again in (igpt.load(tmp_path / "model"), pickle.loads(pickle.dumps(judge))):
        assert same(again.inspect(emoji).scores, judge.inspect(emoji).scores)
        assert again.inspect(emoji).threshold == judge.inspect(emoji).threshold


def test_scores_and_verdicts_are_those_of_the_program(judge: igpt.Model, emoji: np.ndarray, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    judge.save(tmp_path / "model")
    (tmp_path / "new").mkdir()
    for i, pixels in enumerate(emoji):
        image.fromarray(pixels).save(tmp_path / "new" / f"{i:02}.png")
    ran = program(
        "inspect", "run", "--model", tmp_path / "model", tmp_path / "new", "--false-alarms", "0.1",
        "--out", tmp_path / "judged", "--json",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    with (tmp_path / "judged" / "scores.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["file"])
    found = judge.inspect(tmp_path / "new", false_alarms=0.1)
    assert [float(row["score"]) for row in rows] == found.scores.tolist()
    assert [row["odd"] == "yes" for row in rows] == found.odd.tolist()
    np.testing.assert_allclose([float(row["percentile"]) for row in rows], found.percentiles, atol=0.005)
    np.testing.assert_allclose([float(row["p_value"]) for row in rows], found.p_values, atol=5e-6)
    assert json.loads(ran.stdout.splitlines()[-1])["threshold"] == found.threshold


def test_a_model_that_was_not_fitted_says_so(small: igpt.Model, emoji: np.ndarray) -> None:
    with pytest.raises(igpt.Error, match="fit_inspection"):
        small.inspect(emoji)


def test_too_few_good_images_are_refused(run: Path, many: np.ndarray) -> None:
    with pytest.raises(ValueError, match="images"):
        igpt.load(run).fit_inspection(many[:1])
