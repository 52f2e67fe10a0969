"""Palettes of colours."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from . import _igpt
from ._checks import seed_of, whole
from ._images import Images, arrays


class Palette:
    """A palette of colours, fitted by k-means: pixels to tokens.

    Obtained from :meth:`fit`, :meth:`load` or a model. A palette pickles.

    Attributes
    ----------
    colors : ndarray of uint8, (colors, 3)
        The colours in RGB; token ``i`` is colour ``i``.

    Examples
    --------
    >>> import igpt
    >>> images = igpt.data.load("emoji", "test").images
    >>> palette = igpt.Palette.fit(images, colors=16)
    >>> palette
    Palette(16 RGB colours)
    >>> palette.colors[palette.quantize(images)].shape
    (379, 32, 32, 3)
    """

    def __init__(self, inner: _igpt.Palette) -> None:
        self._inner = inner

    @classmethod
    def fit(
        cls, images: Images, colors: SupportsIndex = 512, *, seed: SupportsIndex = 0, threads: SupportsIndex = 0
    ) -> Palette:
        """Fit a palette to the pixels of images.

        Parameters
        ----------
        images : images
            Of any accepted kind. The palette is grey if all of them are.
        colors : int
            How many colours.
        seed : int
            The same seed fits the same palette.
        threads : int
            0 is one per core.

        Returns
        -------
        Palette
            Of so many colours, (colors, 3).

        Raises
        ------
        ValueError
            When the images have fewer different colours.
        """
        count, workers = whole("colors", colors), whole("threads", threads)
        return cls(_igpt.Palette.fit(arrays(images), count, seed_of(seed), workers))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Palette:
        """Load a palette.

        Parameters
        ----------
        path : path
            ``.npy``, a ``preprocessor_config.json``, a model directory or a run.

        Returns
        -------
        Palette
            The same colours as were saved.

        Raises
        ------
        FileNotFoundError
            When there is nothing at `path`.
        ValueError
            When it has no palette.
        """
        return cls(_igpt.Palette.load(os.fspath(path)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the palette as ``.npy``: float32 (colors, channels) in [-1, 1].

        Parameters
        ----------
        path : path
            The file.

        Raises
        ------
        OSError
            When it can't be written.
        """
        self._inner.save(os.fspath(path))

    @property
    def colors(self) -> NDArray[np.uint8]:
        """Colours in RGB, uint8 (colors, 3)."""
        return self._inner.colors

    def quantize(self, images: Images) -> NDArray[np.uint16] | list[NDArray[np.uint16]]:
        """Token of the nearest colour for each pixel.

        Parameters
        ----------
        images : images
            Of any accepted kind.

        Returns
        -------
        ndarray of uint16, (N, H, W)
            A list of (H, W) arrays where the images have several sizes.
        """
        found = self._inner.quantize(arrays(images))
        return np.stack(found) if len({tokens.shape for tokens in found}) == 1 else found

    def __getstate__(self) -> bytes:
        with TemporaryDirectory() as folder:
            path = Path(folder, "palette.npy")
            self.save(path)
            return path.read_bytes()

    def __setstate__(self, state: bytes) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder, "palette.npy")
            path.write_bytes(state)
            self._inner = _igpt.Palette.load(os.fspath(path))

    def __len__(self) -> int:
        return len(self.colors)

    def __repr__(self) -> str:
        return f"Palette({len(self)} {'grey' if self._inner.channels == 1 else 'RGB'} colours)"
