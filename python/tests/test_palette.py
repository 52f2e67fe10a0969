"""Palettes."""

from __future__ import annotations

from pathlib import Path

import igpt
import numpy as np
import pytest
from shared import same


def test_a_fitted_palette_has_so_many_colours(emoji: np.ndarray) -> None:
    palette = igpt.Palette.fit(emoji, colors=32)
    assert (palette.colors.dtype, palette.colors.shape) == (np.uint8, (32, 3))
    assert len(palette) == 32
    assert repr(palette) == "Palette(32 RGB colours)"
    assert len(np.unique(palette.colors, axis=0)) == 32


def test_a_palette_of_grey_images_is_grey(emoji: np.ndarray) -> None:
    palette = igpt.Palette.fit(emoji[..., 0], colors=16)
    assert palette.colors.shape == (16, 3)
    assert (palette.colors == palette.colors[:, :1]).all()
    assert repr(palette) == "Palette(16 grey colours)"


def test_a_seed_fits_the_same_palette_again(emoji: np.ndarray) -> None:
    one, two = (igpt.Palette.fit(emoji, colors=32, seed=4) for _ in range(2))
    assert same(one.colors, two.colors)
    assert same(igpt.Palette.fit(emoji, colors=32, seed=4, threads=1).colors, one.colors)


def test_pixels_get_the_nearest_colours(emoji: np.ndarray, tmp_path: Path) -> None:
    palette = igpt.Palette.fit(emoji, colors=32)
    palette.save(tmp_path / "palette.npy")
    centres = (np.load(tmp_path / "palette.npy").astype(np.float64) + 1) * 127.5
    tokens = palette.quantize(emoji)
    assert isinstance(tokens, np.ndarray)
    assert (tokens.dtype, tokens.shape) == (np.uint16, (12, 32, 32))
    distances = ((emoji[..., None, :] - centres) ** 2).sum(-1)
    chosen = np.take_along_axis(distances, tokens[..., None].astype(np.int64), axis=-1)[..., 0]
    np.testing.assert_allclose(chosen, distances.min(-1), atol=0.01)
    assert (tokens == distances.argmin(-1)).mean() > 0.999


def test_more_colours_come_nearer(emoji: np.ndarray) -> None:
    def error(colors: int) -> float:
        palette = igpt.Palette.fit(emoji, colors=colors)
        return float(((palette.colors[palette.quantize(emoji)].astype(float) - emoji) ** 2).mean())

    assert error(64) < error(16) < error(4)


def test_a_saved_palette_is_the_same_palette(emoji: np.ndarray, tmp_path: Path) -> None:
    palette = igpt.Palette.fit(emoji, colors=32)
    palette.save(tmp_path / "palette.npy")
    stored = np.load(tmp_path / "palette.npy")
    assert (stored.dtype, stored.shape) == (np.float32, (32, 3))
    assert (np.abs(stored) <= 1).all()
    again = igpt.Palette.load(tmp_path / "palette.npy")
    assert same(again.colors, palette.colors)
    assert same(again.quantize(emoji), palette.quantize(emoji))


def test_the_palette_of_a_model_is_loaded_from_its_files(model: igpt.Model, tmp_path: Path, run: Path) -> None:
    model.save(tmp_path / "model")
    for path in (tmp_path / "model", tmp_path / "model" / "preprocessor_config.json"):
        assert same(igpt.Palette.load(path).colors, model.palette.colors)
    assert same(igpt.Palette.load(run).colors, igpt.load(run).palette.colors)


def test_tokens_of_a_palette_are_those_of_its_model(model: igpt.Model, emoji: np.ndarray) -> None:
    drawn = model.sample(3)
    assert same(model.palette.quantize(drawn), model.tokens(drawn))


def test_grey_images_are_taken_by_a_palette_of_colours(emoji: np.ndarray) -> None:
    palette = igpt.Palette.fit(emoji, colors=32)
    grey = emoji[..., 0]
    assert same(palette.quantize(grey), palette.quantize(np.repeat(grey[..., None], 3, axis=3)))


@pytest.mark.parametrize("colors", [0, 1, -1, 70_000])
def test_an_impossible_number_of_colours_is_refused(emoji: np.ndarray, colors: int) -> None:
    with pytest.raises(ValueError, match="(?s)colo"):
        igpt.Palette.fit(emoji, colors=colors)


def test_fewer_colours_than_asked_for_are_refused() -> None:
    with pytest.raises(ValueError, match="(?s)2.*16|16.*2"):
        igpt.Palette.fit(np.array([[[0, 255]]], np.uint8), colors=16)


def test_files_without_a_palette_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        igpt.Palette.load(tmp_path / "nothing.npy")
    np.save(tmp_path / "wrong.npy", np.zeros((4, 7), np.float32))
    with pytest.raises(ValueError, match="wrong.npy"):
        igpt.Palette.load(tmp_path / "wrong.npy")
