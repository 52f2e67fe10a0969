"""Data sets by name or folder, as the program's ``--data`` takes them."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _igpt


class Split(NamedTuple):
    """Images of one split, with their labels."""

    #: uint8 (N, H, W, C), or a list of (H, W, C) arrays where sizes differ.
    images: NDArray[np.uint8] | list[NDArray[np.uint8]]
    #: int64 (N,): positions in `classes`, -1 where an image has no label.
    labels: NDArray[np.int64]
    #: Names of the classes; empty without labels.
    classes: list[str]


def load(spec: str | os.PathLike[str], split: str = "train", *, data_dir: str | os.PathLike[str] | None = None) -> Split:
    """Load the images and labels of one split.

    Parameters
    ----------
    spec : str or path
        ``"emoji"`` (embedded), ``"fashion-mnist"``, ``"mnist"``, ``"cifar10"``, ``"cifar100"``, ``"stl10"``, or a folder.
    split : {"train", "validation", "test", "all"}
        Which images.
    data_dir : path, optional
        Where downloaded data sets are looked for and put.

    Returns
    -------
    Split
        ``(images, labels, classes)``.
    """
    dataset = _igpt.Dataset.open(os.fspath(spec), None if data_dir is None else os.fspath(data_dir))
    images = dataset.arrays(split)
    labels = np.array([-1 if label is None else label for label in dataset.labels(split)], dtype=np.int64)
    same = len({image.shape for image in images}) == 1
    return Split(np.stack(images) if same else images, labels, dataset.classes)
