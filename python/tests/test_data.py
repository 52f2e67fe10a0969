"""Data sets by name and folder."""

from __future__ import annotations

from pathlib import Path

import igpt
import numpy as np
import pytest


def test_the_embedded_data_set_has_images_labels_and_classes() -> None:
    images, labels, classes = igpt.data.load("emoji", "test")
    assert isinstance(images, np.ndarray)
    assert images.dtype == np.uint8 and images.shape[1:] == (32, 32, 3)
    assert (labels.dtype, labels.shape) == (np.int64, (len(images),))
    assert len(classes) == 10 and all(isinstance(name, str) for name in classes)
    assert set(np.unique(labels)) <= set(range(10))


def test_splits_have_no_image_in_common() -> None:
    splits = [igpt.data.load("emoji", split) for split in ("train", "validation", "test")]
    assert sum(len(split.images) for split in splits) == len(igpt.data.load("emoji", "all").images)
    seen = [{image.tobytes() for image in split.images} for split in splits]
    assert not seen[0] & seen[2] and not seen[0] & seen[1] and not seen[1] & seen[2]
    assert len(igpt.data.load("emoji").images) == len(splits[0].images)


def test_folders_of_a_folder_are_its_classes(tmp_path: Path, emoji: np.ndarray) -> None:
    image = pytest.importorskip("PIL.Image")
    for i, pixels in enumerate(emoji):
        folder = tmp_path / ("cats" if i % 2 else "ants")
        folder.mkdir(exist_ok=True)
        image.fromarray(pixels).save(folder / f"{i:02}.png")
    for spec in (tmp_path, str(tmp_path)):
        images, labels, classes = igpt.data.load(spec, "all")
        assert classes == ["ants", "cats"]
        assert sorted(labels) == [0] * 6 + [1] * 6
        expected = np.concatenate([emoji[::2], emoji[1::2]])
        assert np.array_equal(images, expected)


def test_a_folder_without_labels_has_none(tmp_path: Path, emoji: np.ndarray) -> None:
    image = pytest.importorskip("PIL.Image")
    for i, pixels in enumerate(emoji[:3]):
        image.fromarray(pixels[: 20 + i]).save(tmp_path / f"{i}.png")
    images, labels, classes = igpt.data.load(tmp_path, "all")
    assert isinstance(images, list)
    assert [one.shape for one in images] == [(20, 32, 3), (21, 32, 3), (22, 32, 3)]
    assert labels.tolist() == [-1, -1, -1]
    assert classes == []


def test_a_split_without_images_is_refused(tmp_path: Path, emoji: np.ndarray) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(emoji[0]).save(tmp_path / "0.png")
    with pytest.raises((ValueError, FileNotFoundError, igpt.Error), match="too few for a test split"):
        igpt.data.load(tmp_path, "test")


def test_unknown_data_sets_and_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-data"):
        igpt.data.load("no-such-data")
    with pytest.raises(ValueError, match="(?s)tset.*validation"):
        igpt.data.load("emoji", "tset")
    with pytest.raises((FileNotFoundError, ValueError, igpt.Error), match=tmp_path.name):
        igpt.data.load(tmp_path)
