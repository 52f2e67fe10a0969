"""Trained models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _igpt
from ._images import Images, arrays
from ._palette import Palette


class Inspection(NamedTuple):
    """Judgement of some images by :meth:`Model.inspect`; one entry per image."""

    #: float64 (N,): the higher, the odder.
    scores: NDArray[np.float64]
    #: float64 (N,): share of held-out good images with a lower score, in percent.
    percentiles: NDArray[np.float64]
    #: float64 (N,): conformal p-values.
    p_values: NDArray[np.float64]
    #: bool (N,): whether the score is above the threshold.
    odd: NDArray[np.bool_]
    #: Score above which an image is odd.
    threshold: float
    #: float32 (H, W) each: where the image is odd.
    maps: list[NDArray[np.float32]]


def load(
    path: str | os.PathLike[str] | None = None,
    device: str = "auto",
    precision: Literal["f32", "bf16"] | None = None,
    *,
    threads: int = 0,
) -> Model:
    """Load a model directory (of transformers too) or a run directory.

    Parameters
    ----------
    path : path, optional
        Without it, the small emoji model that comes with the package.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    precision : {"f32", "bf16"}, optional
        Number format of matrix products; f32 by default.
    threads : int
        0 is one per core.

    Raises
    ------
    FileNotFoundError
        When there is no model at `path`.
    ValueError
        When a file of it is damaged.
    """
    name = None if path is None else os.fspath(path)
    return Model(_igpt.Model.open(name, device, precision, threads), device, precision, threads)


class Model:
    """A trained model: samples, completions, log-likelihood, features, classes.

    Obtained from :func:`igpt.load`, :func:`igpt.pretrain` or :func:`igpt.finetune`. Images of any size are taken; they are
    scaled to the model's size `n_px`. Several threads may call one model; calls wait for each other.
    """

    def __init__(self, inner: _igpt.Model, device: str, precision: str | None, threads: int) -> None:
        self._inner = inner
        self._engine = (device, precision, threads)

    @property
    def n_px(self) -> tuple[int, int]:
        """Height and width of the model's images, in pixels."""
        return self._inner.n_px

    @property
    def n_vocab(self) -> int:
        """Number of colours of the palette."""
        return self._inner.n_vocab

    @property
    def n_layer(self) -> int:
        """Number of transformer blocks."""
        return self._inner.n_layer

    @property
    def n_head(self) -> int:
        """Number of attention heads."""
        return self._inner.n_head

    @property
    def n_embd(self) -> int:
        """Width of the residual stream."""
        return self._inner.n_embd

    @property
    def channels(self) -> int:
        """1 for a grey palette, 3 for RGB."""
        return self._inner.channels

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return self._inner.parameters

    @property
    def objective(self) -> str:
        """``"autoregressive"`` or ``"masked"``."""
        return self._inner.objective

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty unless the model is a classifier."""
        return self._inner.classes

    @property
    def palette(self) -> Palette:
        """Palette of the model."""
        return Palette(self._inner.palette)

    def sample(
        self, n: int = 1, seed: int = 0, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
    ) -> NDArray[np.uint8]:
        """Sample `n` images; image `i` of a seed is always the same.

        Returns
        -------
        ndarray of uint8, (n, H, W, C)
        """
        return self._inner.sample(n, seed, temperature, top_k, top_p)

    def complete(
        self,
        images: Images,
        rows: int | None = None,
        mask: ArrayLike | None = None,
        n: int = 1,
        seed: int = 0,
        candidates: int = 16,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        *,
        rounds: int = 16,
    ) -> NDArray[np.uint8]:
        """Complete images of which a part is kept.

        Parameters
        ----------
        images : images
            Of any accepted kind.
        rows : int, optional
            Rows that are kept, from the top; half of the image by default.
        mask : array of bool, (H, W), optional
            True where a pixel is drawn, at the model's size `n_px`; instead of `rows`.
        n : int
            Completions of each image.
        candidates : int
            Particles per completion, where known pixels come after a hole.
        rounds : int
            Rounds in which a masked model fills the hole.

        Returns
        -------
        ndarray of uint8, (len(images), n, H, W, C)
            Kept pixels come back as palette colours.
        """
        height, width = self.n_px
        if mask is not None and rows is not None:
            raise ValueError("rows and mask are both given: keep one")
        if mask is not None:
            drawn = np.asarray(mask)
            if drawn.dtype != bool:
                raise TypeError(f"the mask has the type {drawn.dtype}: wanted bool, True where a pixel is drawn")
            known = ~drawn
        else:
            kept = height // 2 if rows is None else rows
            if not 0 <= kept < height:
                raise ValueError(f"rows={kept}: wanted 0 to {height - 1} of the model's {height} rows")
            known = np.zeros((height, width), dtype=bool)
            known[:kept] = True
        known = np.ascontiguousarray(known)
        return self._inner.complete(arrays(images), known, n, candidates, rounds, seed, temperature, top_k, top_p)

    def log_likelihood(self, images: Images, *, per_pixel: bool = False) -> NDArray[Any]:
        """Log-likelihood of each image in nats: negative, the higher the likelier.

        Returns
        -------
        ndarray
            float64 (N,); with `per_pixel` float32 (N, H, W), of each pixel given those before it.
        """
        if per_pixel:
            return self._inner.log_likelihood_per_pixel(arrays(images))
        return self._inner.log_likelihood(arrays(images))

    def features(
        self, images: Images, layers: Literal["all"] | int | Sequence[int] = "all", pool: str = "mean"
    ) -> NDArray[np.float32]:
        """Features of each image: the outputs of layers, pooled over positions.

        Parameters
        ----------
        layers : "all", int or list of int
            0 to `n_layer`; ``"all"`` is `n_layer` + 1 of them.
        pool : {"mean", "max", "last", "none"}
            How positions are pooled.

        Returns
        -------
        ndarray of float32
            (N, layers, n_embd); (N, n_embd) for one layer given as an int. With ``pool="none"`` there is an axis of
            positions T before n_embd.
        """
        if isinstance(layers, str):
            if layers != "all":
                raise ValueError(f'layers={layers!r}: wanted "all", a number or a list of numbers')
            chosen = None
        else:
            numbers = [layers] if isinstance(layers, (int, np.integer)) else list(layers)
            if any(layer < 0 for layer in numbers):
                raise ValueError(f"layers={layers}: layers are numbered 0 to {self.n_layer}")
            chosen = [int(layer) for layer in numbers]
        found = self._inner.features(arrays(images), chosen, pool)
        return found[:, 0] if isinstance(layers, (int, np.integer)) else found

    def predict_proba(self, images: Images) -> NDArray[np.float64]:
        """Probability of each class, float64 (N, classes), in the order of `classes`."""
        return self._inner.classify(arrays(images))[0]

    def predict(self, images: Images) -> NDArray[np.int64]:
        """Class of each image, int64 (N,): positions in `classes`."""
        return self._inner.classify(arrays(images))[1].astype(np.int64)

    def fit_inspection(self, good: Images) -> Model:
        """Fit the anomaly detector to good images: 80 % for its reference, the rest held out for the threshold."""
        self._inner.fit_inspection(_igpt.Dataset.of_arrays(arrays(good), None, []))
        return self

    def inspect(self, images: Images, false_alarms: float = 0.05) -> Inspection:
        """Judge images by the good ones that the model was fitted to (:meth:`fit_inspection`, ``igpt inspect fit``).

        Parameters
        ----------
        false_alarms : float
            Share of good images that may be called odd.
        """
        threshold = self._inner.threshold(false_alarms)
        (scores, percentiles, p_values), maps = self._inner.inspect(arrays(images))
        return Inspection(scores, percentiles, p_values, scores > threshold, threshold, maps)

    def tokens(self, images: Images) -> NDArray[np.uint16]:
        """Tokens of each image at the model's size, uint16 (N, H, W)."""
        return self._inner.tokens(arrays(images))

    def pixels(self, tokens: ArrayLike) -> NDArray[np.uint8]:
        """Palette colours of tokens (N, H, W) or (N, T), uint8 (N, H, W, C)."""
        given = np.asarray(tokens)
        if given.ndim not in (2, 3) or not np.issubdtype(given.dtype, np.integer):
            raise ValueError(f"an array {given.dtype} {given.shape} is no set of tokens: wanted integers (N, H, W)")
        if given.size and (given.min() < 0 or given.max() >= self.n_vocab):
            raise ValueError(f"tokens from {given.min()} to {given.max()}: wanted 0 to {self.n_vocab - 1}")
        flat = given.reshape(len(given), -1).astype(np.uint16)
        return self._inner.pixels(np.ascontiguousarray(flat))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save a model directory in Hugging Face's ImageGPT layout, which transformers opens, too."""
        self._inner.save(os.fspath(path))

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self._inner.files(), "engine": self._engine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        device, precision, threads = self._engine = state["engine"]
        self._inner = _igpt.Model.of_files(state["files"], device, precision, threads)

    def __repr__(self) -> str:
        height, width = self.n_px
        return (
            f"Model({self.parameters:,} parameters, {height}x{width} pixels, {self.n_vocab} colours, "
            f"{self.n_layer} layers of width {self.n_embd}, {self.objective})"
        )
