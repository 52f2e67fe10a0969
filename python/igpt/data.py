"""Data sets by name or folder, as the program's ``--data`` takes them."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _igpt
from ._images import spec_of


class Split(NamedTuple):
    """Images of one split, with their labels.

    Attributes
    ----------
    images : ndarray of uint8, (N, H, W, C)
        A list of (H, W, C) arrays where sizes differ.
    labels : ndarray of int64, (N,)
        Positions in `classes`, -1 where an image has no label.
    classes : list of str
        Names of the classes; empty without labels.
    """

    images: NDArray[np.uint8] | list[NDArray[np.uint8]]
    labels: NDArray[np.int64]
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
        ``(images, labels, classes)``: uint8 (N, H, W, C) or a list of (H, W, C), int64 (N,), names.

    Raises
    ------
    FileNotFoundError
        When there is no such data set or folder, or it has too few images for such a split.
    ValueError
        When there is no split of this name.

    Examples
    --------
    >>> import igpt
    >>> images, labels, classes = igpt.data.load("emoji", "test")
    >>> images.shape, labels.shape, len(classes)
    ((379, 32, 32, 3), (379,), 10)
    """
    dataset = _igpt.Dataset.open(spec_of(spec), None if data_dir is None else os.fspath(data_dir))
    images = dataset.arrays(split)
    labels = np.array([-1 if label is None else label for label in dataset.labels(split)], dtype=np.int64)
    same = len({image.shape for image in images}) == 1
    return Split(np.stack(images) if same else images, labels, dataset.classes)
