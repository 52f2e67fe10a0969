"""Trained models."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _igpt
from ._checks import seed_of, whole
from ._images import Images, arrays
from ._palette import Palette


class Inspection(NamedTuple):
    """Judgement of some images by :meth:`Model.inspect`; one entry per image.

    Attributes
    ----------
    scores : ndarray of float64, (N,)
        The higher, the odder.
    percentiles : ndarray of float64, (N,)
        Share of held-out good images with a lower score, in percent.
    p_values : ndarray of float64, (N,)
        Conformal p-values.
    odd : ndarray of bool, (N,)
        Whether the score is above the threshold.
    threshold : float
        Score above which an image is odd.
    maps : list of ndarray of float32, (H, W)
        Where each image is odd.
    """

    scores: NDArray[np.float64]
    percentiles: NDArray[np.float64]
    p_values: NDArray[np.float64]
    odd: NDArray[np.bool_]
    threshold: float
    maps: list[NDArray[np.float32]]

    def __repr__(self) -> str:
        return f"Inspection({int(self.odd.sum())} of {len(self.odd)} images are odd, threshold {self.threshold:.4g})"


def load(
    path: str | os.PathLike[str] | None = None,
    device: str = "auto",
    precision: Literal["f32", "bf16"] | None = None,
    *,
    threads: SupportsIndex = 0,
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
        0 is one per core. Results do not depend on it.

    Returns
    -------
    Model
        The model, ready for use.

    Raises
    ------
    FileNotFoundError
        When there is no model at `path`.
    ValueError
        When a file of it is damaged, or there is no such device or precision.

    Examples
    --------
    >>> import igpt
    >>> igpt.load()
    Model(1,230,592 parameters, 16x16 pixels, 64 colours, 6 layers of width 128, autoregressive)
    """
    name = None if path is None else os.fspath(path)
    count = whole("threads", threads)
    return Model(_igpt.Model.open(name, device, precision, count), device, precision, count)


class Model:
    """A trained model: samples, completions, log-likelihood, features, classes.

    Obtained from :func:`igpt.load`, :func:`igpt.pretrain` or :func:`igpt.finetune`. Every method takes images as
    :func:`igpt.images` does, of any size; they are scaled to the model's size `n_px`. H and W are this size, C is
    `channels`, T is H * W. Several threads may call one model; calls wait for each other. A model pickles with its
    weights.
    """

    def __init__(self, inner: _igpt.Model, device: str, precision: str | None, threads: int) -> None:
        self._inner = inner
        self._engine = (device, precision, threads)
        self._palette: Palette | None = None

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
        if self._palette is None:
            self._palette = Palette(self._inner.palette)
        return self._palette

    def sample(
        self,
        n: SupportsIndex = 1,
        seed: SupportsIndex = 0,
        temperature: float = 1.0,
        top_k: SupportsIndex = 0,
        top_p: float = 1.0,
    ) -> NDArray[np.uint8]:
        """Sample images.

        Parameters
        ----------
        n : int
            How many images.
        seed : int
            Image ``i`` of a seed is always the same, however many are drawn.
        temperature : float
            Logits are divided by it; 0 takes the likeliest colour.
        top_k : int
            Only so many of the likeliest colours are drawn; 0 is all.
        top_p : float
            Only the likeliest colours that together reach this probability are drawn.

        Returns
        -------
        ndarray of uint8, (n, H, W, C)
            Images in palette colours.

        Raises
        ------
        ValueError
            For impossible settings, and for a model of masked pixels.
        """
        count, filtered = whole("n", n), whole("top_k", top_k)
        return self._inner.sample(count, seed_of(seed), temperature, filtered, top_p)

    def complete(
        self,
        images: Images,
        rows: SupportsIndex | None = None,
        mask: ArrayLike | None = None,
        n: SupportsIndex = 1,
        seed: SupportsIndex = 0,
        candidates: SupportsIndex = 16,
        temperature: float = 1.0,
        top_k: SupportsIndex = 0,
        top_p: float = 1.0,
        *,
        rounds: SupportsIndex = 16,
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
        seed : int
            As of :meth:`sample`.
        candidates : int
            Particles per completion, where known pixels come after a hole.
        temperature, top_k, top_p : number
            As of :meth:`sample`.
        rounds : int
            Rounds in which a masked model fills the hole.

        Returns
        -------
        ndarray of uint8, (len(images), n, H, W, C)
            Kept pixels come back as palette colours.

        Raises
        ------
        ValueError
            When nothing is left to draw, or a setting is impossible.
        """
        return self._inner.complete(
            arrays(images),
            np.ascontiguousarray(self._known(rows, mask)),
            whole("n", n),
            whole("candidates", candidates, least=1),
            whole("rounds", rounds, least=1),
            seed_of(seed),
            temperature,
            whole("top_k", top_k),
            top_p,
        )

    def _known(self, rows: SupportsIndex | None, mask: ArrayLike | None) -> NDArray[np.bool_]:
        """The pixels that are kept, bool (H, W)."""
        height, width = self.n_px
        if mask is not None and rows is not None:
            raise ValueError("rows and mask are both given: keep one")
        if mask is not None:
            drawn = np.asarray(mask)
            if drawn.dtype != bool:
                raise TypeError(f"the mask has the type {drawn.dtype}: wanted bool, True where a pixel is drawn")
            if drawn.shape != (height, width):
                raise ValueError(f"the mask has the shape {drawn.shape}: wanted that of the model, {(height, width)}")
            return ~drawn
        kept = height // 2 if rows is None else whole("rows", rows, most=height - 1)
        return np.arange(height * width).reshape(height, width) < kept * width

    @overload
    def log_likelihood(self, images: Images, *, per_pixel: Literal[False] = False) -> NDArray[np.float64]: ...
    @overload
    def log_likelihood(self, images: Images, *, per_pixel: Literal[True]) -> NDArray[np.float32]: ...
    @overload
    def log_likelihood(self, images: Images, *, per_pixel: bool) -> NDArray[np.floating[Any]]: ...
    def log_likelihood(self, images: Images, *, per_pixel: bool = False) -> NDArray[np.floating[Any]]:
        """Log-likelihood of each image in nats: negative, the higher the likelier.

        Parameters
        ----------
        images : images
            Of any accepted kind.
        per_pixel : bool
            Whether to tell pixels apart.

        Returns
        -------
        ndarray
            float64 (N,); with `per_pixel` float32 (N, H, W), of each pixel given those before it.

        Raises
        ------
        ValueError
            When the model is one of masked pixels.
        """
        if per_pixel:
            return self._inner.log_likelihood_per_pixel(arrays(images))
        return self._inner.log_likelihood(arrays(images))

    def features(
        self,
        images: Images,
        layers: Literal["all"] | SupportsIndex | Iterable[SupportsIndex] = "all",
        pool: Literal["mean", "max", "last", "none"] = "mean",
    ) -> NDArray[np.float32]:
        """Features of each image: the outputs of layers, pooled over positions.

        Parameters
        ----------
        images : images
            Of any accepted kind.
        layers : "all", int or list of int
            0 to `n_layer`; ``"all"`` is `n_layer` + 1 of them.
        pool : {"mean", "max", "last", "none"}
            How positions are pooled.

        Returns
        -------
        ndarray of float32
            (N, layers, n_embd); (N, n_embd) for one layer given as an int. With ``pool="none"`` there is an axis of
            positions T before n_embd.

        Raises
        ------
        ValueError
            When there is no such layer or pooling.
        """
        if isinstance(layers, str):
            if layers != "all":
                raise ValueError(f'layers={layers!r}: wanted "all", a number or a list of numbers')
            return self._inner.features(arrays(images), None, pool)
        if isinstance(layers, Iterable):
            chosen = [whole("layers", layer, most=self.n_layer) for layer in layers]
            if not chosen:
                raise ValueError('no layers are asked for: wanted "all", a number or a list of numbers')
            return self._inner.features(arrays(images), chosen, pool)
        return self._inner.features(arrays(images), [whole("layers", layers, most=self.n_layer)], pool)[:, 0]

    def predict_proba(self, images: Images) -> NDArray[np.float64]:
        """Probability of each class.

        Parameters
        ----------
        images : images
            Of any accepted kind.

        Returns
        -------
        ndarray of float64, (N, classes)
            In the order of `classes`; each row adds up to 1.

        Raises
        ------
        igpt.Error
            When the model is no classifier.
        """
        return self._inner.classify(arrays(images))[0]

    def predict(self, images: Images) -> NDArray[np.int64]:
        """Class of each image.

        Parameters
        ----------
        images : images
            Of any accepted kind.

        Returns
        -------
        ndarray of int64, (N,)
            Positions in `classes`.

        Raises
        ------
        igpt.Error
            When the model is no classifier.
        """
        return self._inner.classify(arrays(images))[1].astype(np.int64)

    def fit_inspection(self, good: Images, held_out: Images | None = None) -> Model:
        """Fit the anomaly detector to good images.

        The model keeps the fit, also when it is saved or pickled.

        Parameters
        ----------
        good : images
            Of any accepted kind. They become the detector's reference.
        held_out : images, optional
            Good images for the threshold, which the model was not trained on: 19 of them allow a rate of false alarms of
            5 %, 99 one of 1 %. By default a fifth of `good` is held out: the parts for validation and for tests that
            :func:`igpt.pretrain` makes of the same images, too.

        Returns
        -------
        Model
            The model itself.

        Raises
        ------
        ValueError
            When no image is held out.
        """
        found, others = arrays(good), [] if held_out is None else arrays(held_out)
        dataset = _igpt.Dataset.of_arrays(found + others, None, [], len(others) or None)
        self._inner.fit_inspection(dataset)
        return self

    def threshold(self, false_alarms: float = 0.05) -> float:
        """Score above which :meth:`inspect` calls an image odd.

        Parameters
        ----------
        false_alarms : float
            Share of good images that may be called odd, between 0 and 1.

        Returns
        -------
        float
            The conformal quantile of the scores of the held-out good images.

        Raises
        ------
        igpt.Error
            When neither :meth:`fit_inspection` nor ``igpt inspect fit`` fitted the model.
        ValueError
            When the share is not between 0 and 1, or too small for the number of held-out images.
        """
        return self._inner.threshold(false_alarms)

    def inspect(self, images: Images, false_alarms: float = 0.05) -> Inspection:
        """Judge images by the good ones that the model was fitted to.

        Parameters
        ----------
        images : images
            Of any accepted kind.
        false_alarms : float
            Share of good images that may be called odd.

        Returns
        -------
        Inspection
            Scores, percentiles and p-values, float64 (N,) each; verdicts, bool (N,); the threshold; maps.

        Raises
        ------
        igpt.Error
            When neither :meth:`fit_inspection` nor ``igpt inspect fit`` fitted the model.
        ValueError
            As of :meth:`threshold`.
        """
        given, threshold = arrays(images), self.threshold(false_alarms)
        (scores, percentiles, p_values), maps = self._inner.inspect(given)
        return Inspection(scores, percentiles, p_values, scores > threshold, threshold, maps)

    def tokens(self, images: Images) -> NDArray[np.uint16]:
        """Tokens of each image: numbers of palette colours, at the model's size.

        Parameters
        ----------
        images : images
            Of any accepted kind.

        Returns
        -------
        ndarray of uint16, (N, H, W)
            0 to `n_vocab` - 1.
        """
        return self._inner.tokens(arrays(images))

    def pixels(self, tokens: ArrayLike) -> NDArray[np.uint8]:
        """Palette colours of tokens.

        Parameters
        ----------
        tokens : array of integers, (N, H, W) or (N, T)
            0 to `n_vocab` - 1.

        Returns
        -------
        ndarray of uint8, (N, H, W, C)
            The image of each row of tokens.

        Raises
        ------
        ValueError
            For other shapes, types and values.
        """
        given = np.asarray(tokens)
        height, width = self.n_px
        if given.shape[1:] not in ((height, width), (height * width,)) or not np.issubdtype(given.dtype, np.integer):
            wanted = f"integers (N, {height}, {width}) or (N, {height * width})"
            raise ValueError(f"an array {given.dtype} {given.shape} is no set of tokens: wanted {wanted}")
        if given.size and (given.min() < 0 or given.max() >= self.n_vocab):
            raise ValueError(f"tokens from {given.min()} to {given.max()}: wanted 0 to {self.n_vocab - 1}")
        colors: NDArray[np.uint8] = self.palette.colors[:, : self.channels]
        return np.take(colors, given.reshape(-1, height, width), axis=0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save a model directory in Hugging Face's ImageGPT layout, which transformers opens, too.

        Parameters
        ----------
        path : path
            The directory; it is made if it is not there.

        Raises
        ------
        OSError
            When it can't be written.
        """
        self._inner.save(os.fspath(path))

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self._inner.files(), "engine": self._engine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        device, precision, threads = state["engine"]
        inner = _igpt.Model.of_files(state["files"], device, precision, threads)
        self.__init__(inner, device, precision, threads)  # type: ignore[misc]

    def __repr__(self) -> str:
        height, width = self.n_px
        return (
            f"Model({self.parameters:,} parameters, {height}x{width} pixels, {self.n_vocab} colours, "
            f"{self.n_layer} layers of width {self.n_embd}, {self.objective})"
        )
