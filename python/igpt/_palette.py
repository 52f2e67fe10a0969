"""Palettes of colours."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from . import _igpt
from ._images import Images, arrays


class Palette:
    """A palette of colours, fitted by k-means: pixels to tokens.

    Attributes
    ----------
    colors : ndarray of uint8, (colors, 3)
        The colours in RGB; token ``i`` is colour ``i``.
    """

    def __init__(self, inner: _igpt.Palette) -> None:
        self._inner = inner

    @classmethod
    def fit(cls, images: Images, colors: int = 512, *, seed: int = 0, threads: int = 0) -> Palette:
        """Fit a palette of `colors` colours to the pixels of `images`.

        Raises
        ------
        ValueError
            When the images have fewer different colours.
        """
        return cls(_igpt.Palette.fit(arrays(images), colors, seed, threads))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Palette:
        """Load a palette from `.npy`, a ``preprocessor_config.json``, a model directory or a run."""
        return cls(_igpt.Palette.load(os.fspath(path)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the palette as `.npy`, float32 (colors, channels) in [-1, 1]."""
        self._inner.save(os.fspath(path))

    @property
    def colors(self) -> NDArray[np.uint8]:
        """Colours in RGB, uint8 (colors, 3)."""
        return self._inner.colors

    def quantize(self, images: Images) -> NDArray[np.uint16] | list[NDArray[np.uint16]]:
        """Token of the nearest colour for each pixel.

        Returns
        -------
        ndarray of uint16, (N, H, W)
            A list of (H, W) arrays where the images have several sizes.
        """
        found = self._inner.quantize(arrays(images))
        return np.stack(found) if len({tokens.shape for tokens in found}) == 1 else found

    def __len__(self) -> int:
        return len(self.colors)

    def __repr__(self) -> str:
        return f"Palette({len(self)} {'grey' if self._inner.channels == 1 else 'RGB'} colours)"
