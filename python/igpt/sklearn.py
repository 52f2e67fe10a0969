"""Estimators of scikit-learn: features, classifiers and an outlier detector that learn from pixels.

The estimators are :class:`PixelFeatures`, :class:`PixelClassifier` and :class:`OddImageDetector`. They need scikit-learn 1.6
or later (``pip install igpt[sklearn]``).

All take `X` in one of these forms:

rows, (n, h * w * c)
    With ``image_shape=(h, w)`` or ``(h, w, c)`` each row is an image. Without it each row is a grey image that is as square
    as possible: the values fill its pixels row by row, and black fills the end of the last row. 64 values are 8×8 pixels,
    5 values are 2×3 pixels of which the last is black.
images, (n, h, w) or (n, h, w, c)
    An array, or a list of arrays of one size.
a list of PIL images, of paths, or of arrays of several sizes
    The model scales them to its own size.

Values become pixels by these rules:

- uint8 and bool are pixels as they are. So are the images of a list, unless it is a list of arrays of one size.
- Floats are pixels as they are where the images in `fit` have a shape and lie in [0, 1]. Later values outside are clipped.
- Other values are scaled: the lowest value of `X` in `fit` is black, the highest is white. Later values beyond them are
  clipped. All features share one range, so give features of different units a common scale beforehand.

Models have 8 to 64 pixels a side. Smaller images are enlarged: each pixel is repeated until both sides have 8 or more.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (  # type: ignore[import-untyped]
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression, Ridge  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
from sklearn.utils import check_array, check_consistent_length, check_random_state  # type: ignore[import-untyped]
from sklearn.utils.multiclass import check_classification_targets, type_of_target  # type: ignore[import-untyped]
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data  # type: ignore[import-untyped]

from ._images import arrays
from ._model import Model, load
from ._training import finetune, pretrain

__all__ = ["OddImageDetector", "PixelClassifier", "PixelFeatures"]

#: Smallest side of a model's images, in pixels.
_SIDE = 8
#: Steps of pretraining where no budget is given.
_STEPS = 300


class _PixelEstimator(BaseEstimator):  # type: ignore[misc]
    """What the estimators share: images from `X`, and the pretrained model."""

    # Parameters. Each estimator has an __init__ of its own, from which scikit-learn reads their names.
    image_shape: Sequence[int] | None
    model: Model | str | os.PathLike[str] | None
    preset: str | None
    steps: int | None
    epochs: float | None
    minutes: float | None
    n_px: int | tuple[int, int] | None
    colors: int | None
    random_state: int | np.random.RandomState | None
    threads: int
    device: str
    settings: Mapping[str, Any] | None
    verbose: bool

    # What fit sets. `_values` says how values become pixels: "bytes", "unit" (floats in [0, 1]) or "range".
    image_shape_: tuple[int, int, int] | None
    value_range_: tuple[float, float]
    model_: Model
    _values: str

    def _images(self, X: Any, *, reset: bool) -> list[NDArray[np.uint8]]:
        """Return the images of `X`. With `reset`, the estimator is being fitted to them."""
        images, X = _sorted_out(X)
        images = self._of_array(X, reset=reset) if images is None else self._of_list(images, reset=reset)
        return [_enlarged(image) for image in images]

    def _of_list(self, X: list[Any], *, reset: bool) -> list[NDArray[np.uint8]]:
        images = arrays(X)
        if reset:
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(self, name):
                    delattr(self, name)
            self.image_shape_ = None
            self._values, self.value_range_ = "bytes", (0.0, 255.0)
            if len({image.shape for image in images}) == 1:
                height, width, channels = images[0].shape
                self.image_shape_ = (height, width, channels)
                self.n_features_in_ = images[0].size
        return images

    def _of_array(self, X: Any, *, reset: bool) -> list[NDArray[np.uint8]]:
        shape = self._asked_shape() if reset else self.image_shape_
        has_shape = self.image_shape is not None
        if getattr(X, "ndim", 2) in (3, 4):
            given = _shape_of(X)
            if shape is not None and shape != given:
                source = "image_shape is" if reset and has_shape else "fit saw"
                raise ValueError(f"X has images of the shape {given}, but {source} {shape}")
            shape, has_shape = given, True
            X = np.asarray(X).reshape(len(X), math.prod(given))
        # Whatever is no array of numbers is refused in scikit-learn's words.
        values = validate_data(self, X, reset=reset)
        if shape is None and not reset:
            raise ValueError("X has rows, but fit saw images of several sizes: give images")
        if shape is None:
            shape = _near_square(values.shape[1])
        elif reset and has_shape and values.shape[1] != math.prod(shape):
            raise ValueError(f"images of the shape {shape} have {math.prod(shape)} values, but X has {values.shape[1]}")
        pixels = self._bytes(values, has_shape, reset=reset)
        if reset:
            self.image_shape_ = shape
        padding = math.prod(shape) - pixels.shape[1]
        return list(np.pad(pixels, ((0, 0), (0, padding))).reshape(-1, *shape))

    def _bytes(self, values: NDArray[Any], has_shape: bool, *, reset: bool) -> NDArray[np.uint8]:
        """Return the pixels of values (n, features)."""
        if reset:
            low, high = float(values.min()), float(values.max())
            if values.dtype in (np.uint8, np.bool_):
                self._values, self.value_range_ = "bytes", (0.0, 255.0)
            elif has_shape and values.dtype.kind == "f" and low >= 0 and high <= 1:
                self._values, self.value_range_ = "unit", (0.0, 1.0)
            else:
                self._values, self.value_range_ = "range", (low, high)
        if self._values == "range":
            low, high = self.value_range_
            scaled = (values.astype(np.float64) - low) / (high - low if high > low else 1.0)
            return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
        if self._values == "unit" and values.dtype.kind == "f":
            values = np.clip(values, 0, 1)
        return np.stack(arrays(values[:, None, :, None])).reshape(values.shape)

    def _asked_shape(self) -> tuple[int, int, int] | None:
        """Return `image_shape` as (h, w, c)."""
        if self.image_shape is None:
            return None
        shape = tuple(self.image_shape) if isinstance(self.image_shape, (tuple, list)) else ()
        shape = (*shape, 1) if len(shape) == 2 else shape
        sound = len(shape) == 3 and all(isinstance(part, (int, np.integer)) and part > 0 for part in shape)
        if not (sound and shape[2] in (1, 3)):
            raise ValueError(
                f"image_shape={self.image_shape!r}: wanted (height, width) or (height, width, channels) with 1 or 3 channels"
            )
        return int(shape[0]), int(shape[1]), int(shape[2])

    def _seed(self) -> int:
        """Return the seed of this fit: `random_state` itself if it is an integer."""
        random = check_random_state(self.random_state)
        return int(self.random_state if isinstance(self.random_state, Integral) else random.randint(2**31 - 1))

    def _pretrained(self, images: list[NDArray[np.uint8]], validation: list[NDArray[np.uint8]], seed: int) -> Model:
        """Return the model that was given, or one that is pretrained on `images` and chosen by others."""
        if isinstance(self.model, Model):
            return self.model
        if self.model is not None:
            return load(self.model, device=self.device, threads=self.threads)
        distinct = _distinct_colors(images, 2 if self.colors is None else max(2, self.colors))
        if distinct < 2:
            raise ValueError("all values of X are the same: a model learns from images with at least two colours")
        budget: dict[str, Any] = {"steps": self.steps, "epochs": self.epochs, "minutes": self.minutes}
        if all(value is None for value in budget.values()):
            budget["steps"] = _STEPS
        return pretrain(
            images,
            validation=validation,
            preset=self.preset,
            **budget,
            n_px=self.n_px,
            colors=None if self.colors is None else min(self.colors, distinct),
            seed=seed,
            device=self.device,
            threads=self.threads,
            callback=_warn,
            progress=bool(self.verbose),
            settings=self.settings,
        )


class PixelFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _PixelEstimator):  # type: ignore[misc]
    """Features of one layer of a model that is pretrained on the images without labels.

    `fit` pretrains a model to predict each pixel from those before it. `transform` returns the outputs of one layer, averaged
    over the pixels.

    By default 300 steps of about 4,096 pixels each are trained. On two cores they take about a minute for images of 8×8
    pixels and three for 32×32, however many images there are. Good features need more: thousands of steps, or a
    pretrained `model`.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c), optional
        Shape of the image in each row of `X`; see :mod:`igpt.sklearn`.
    model : Model, path or None
        A pretrained model. `fit` then trains nothing, and the parameters of training have no effect.
    preset : {"nano", "tiny", "xs", "s", "m", "l", "xl"} or None
        Size of the network. None chooses it from `minutes`.
    steps, epochs, minutes : number, optional
        Budget of pretraining: at most one of them. Without any it is 300 steps. With `minutes`, results differ from run to
        run.
    n_px : int or (height, width), optional
        Size of the model's images; by default the images' own, or 32 pixels where that is too large.
    colors : int, optional
        Colours of the palette; by default 16 for grey images, otherwise 512. Images with fewer colours get a palette of
        their own colours.
    layer : int, "middle" or "auto"
        Layer of the features: 0 (the embedding of the pixels) to `n_layer`. ``"middle"`` is half of the blocks, rounded up.
        ``"auto"`` is the layer whose features predict `y` best by a linear probe: a probe is fitted to four fifths of the
        images, and its score on the others counts. Without `y` it is the middle one.
    random_state : int, RandomState instance or None
        An integer is the seed of training: results are the same each time.
    threads : int
        0 is one per core.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    settings : dict, optional
        Other keys of a config file, such as ``{"train.lr": 1e-3}``.
    verbose : bool
        Whether a progress bar is shown.

    Attributes
    ----------
    model_ : Model
        The pretrained model.
    layer_ : int
        The chosen layer.
    layer_scores_ : ndarray of float64, (n_layer + 1,)
        Score of each layer's probe: accuracy, or R² where `y` is continuous. Only with ``layer="auto"`` and `y`.
    image_shape_ : (h, w, c) or None
        Shape of the images in `fit`; None if they have several.
    value_range_ : (float, float)
        Values that are black and white.
    n_features_in_ : int
        Number of values of an image in `fit`; missing if images have several sizes.
    feature_names_in_ : ndarray of str, (n_features_in_,)
        Names of the columns of `X`, where it had names.

    Notes
    -----
    A tenth of the images is held out of training: it chooses the weights. Where there are fewer than nine, all are both.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from igpt.sklearn import PixelFeatures
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> network = {"model.n_layer": 1, "model.n_head": 2, "model.n_embd": 16}
    >>> features = PixelFeatures(image_shape=(8, 8), steps=20, random_state=0, settings=network)
    >>> pipeline = make_pipeline(features, StandardScaler(), LogisticRegression()).fit(X[:200], y[:200])
    >>> pipeline.score(X[200:], y[200:]) > 0.7
    True
    """

    layer: int | str
    layer_: int
    layer_scores_: NDArray[np.float64]

    def __init__(
        self,
        *,
        image_shape: Sequence[int] | None = None,
        model: Model | str | os.PathLike[str] | None = None,
        preset: str | None = "nano",
        steps: int | None = None,
        epochs: float | None = None,
        minutes: float | None = None,
        n_px: int | tuple[int, int] | None = None,
        colors: int | None = None,
        layer: int | str = "middle",
        random_state: int | np.random.RandomState | None = None,
        threads: int = 0,
        device: str = "auto",
        settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self.image_shape = image_shape
        self.model = model
        self.preset = preset
        self.steps = steps
        self.epochs = epochs
        self.minutes = minutes
        self.n_px = n_px
        self.colors = colors
        self.layer = layer
        self.random_state = random_state
        self.threads = threads
        self.device = device
        self.settings = settings
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> PixelFeatures:
        """Pretrain a model on images.

        Parameters
        ----------
        X : images or rows
            See :mod:`igpt.sklearn`.
        y : array-like, (n,) or (n, outputs), optional
            Targets, which only ``layer="auto"`` uses.

        Returns
        -------
        PixelFeatures
            Itself.
        """
        images = self._images(X, reset=True)
        train, held = _held_out(len(images), 0.1)
        model = self._pretrained([images[i] for i in train], [images[i] for i in held], self._seed())
        if hasattr(self, "layer_scores_"):
            del self.layer_scores_
        middle = (model.n_layer + 1) // 2
        if isinstance(self.layer, str) and self.layer == "auto":
            scores = None if y is None else _probe_scores(model.features(images), y)
            if scores is not None:
                self.layer_scores_ = scores
                # Of several best layers the one nearest to the middle, then the lowest.
                best = np.flatnonzero(scores == scores.max())
                middle = int(best[np.argmin(np.abs(best - middle))])
            self.layer_ = middle
        elif isinstance(self.layer, str) and self.layer == "middle":
            self.layer_ = middle
        elif isinstance(self.layer, Integral) and 0 <= self.layer <= model.n_layer:
            self.layer_ = int(self.layer)
        else:
            raise ValueError(f'layer={self.layer!r}: wanted "middle", "auto" or a number from 0 to {model.n_layer}')
        self.model_ = model
        self._n_features_out = model.n_embd
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Compute the features of images.

        Parameters
        ----------
        X : images or rows
            See :mod:`igpt.sklearn`.

        Returns
        -------
        ndarray of float32, (n, n_embd)
            One row per image.
        """
        check_is_fitted(self, "model_")
        return self.model_.features(self._images(X, reset=False), self.layer_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


class PixelClassifier(ClassifierMixin, _PixelEstimator):  # type: ignore[misc]
    """A classifier on top of a model that is pretrained on the images without labels.

    `fit` pretrains a model as :class:`PixelFeatures` does. Then it fits a linear probe to the features, or fine-tunes the
    whole network.

    By default 300 steps of about 4,096 pixels each are pretrained, and a linear probe is fitted. For small
    images this takes about a minute on two cores. Good accuracies need more: thousands of steps, or a pretrained `model`.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c), optional
        Shape of the image in each row of `X`; see :mod:`igpt.sklearn`.
    model : Model, path or None
        A pretrained model. `fit` then trains nothing, and the parameters of training have no effect.
    preset : {"nano", "tiny", "xs", "s", "m", "l", "xl"} or None
        Size of the network. None chooses it from `minutes`.
    steps, epochs, minutes : number, optional
        Budget of pretraining: at most one of them. Without any it is 300 steps. With `minutes`, results differ from run to
        run.
    n_px : int or (height, width), optional
        Size of the model's images; by default the images' own, or 32 pixels where that is too large.
    colors : int, optional
        Colours of the palette; by default 16 for grey images, otherwise 512. Images with fewer colours get a palette of
        their own colours.
    head : {"linear", "fine-tuned", "auto"}
        A linear probe on frozen features of the layer that is best on validation, the whole network, or the better of both
        on validation.
    finetune_steps : int or None
        Steps of fine-tuning; each takes about as long as one of pretraining. None is three passes over the images, at least
        1,000 steps. ``head="linear"`` takes none.
    finetune_settings : dict, optional
        Other keys of a config file for the training of the head, such as ``{"train.lr": 1e-4}``.
    random_state : int, RandomState instance or None
        An integer is the seed of training: results are the same each time.
    threads : int
        0 is one per core.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    settings : dict, optional
        Other keys of a config file, such as ``{"train.lr": 1e-3}``.
    verbose : bool
        Whether a progress bar is shown.

    Attributes
    ----------
    model_ : Model
        The classifier.
    classes_ : ndarray, (classes,)
        The different values of `y`, sorted.
    image_shape_ : (h, w, c) or None
        Shape of the images in `fit`; None if they have several.
    value_range_ : (float, float)
        Values that are black and white.
    n_features_in_ : int
        Number of values of an image in `fit`; missing if images have several sizes.
    feature_names_in_ : ndarray of str, (n_features_in_,)
        Names of the columns of `X`, where it had names.

    Notes
    -----
    A tenth of the images is held out of training: it chooses the weights and the strength of the probe. Each class has an
    image among the others. Where there are fewer than nine, all are both.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from igpt.sklearn import PixelClassifier
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> network = {"model.n_layer": 1, "model.n_head": 2, "model.n_embd": 16}
    >>> classifier = PixelClassifier(image_shape=(8, 8), steps=20, random_state=0, settings=network)
    >>> classifier.fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.7
    True
    """

    head: Literal["linear", "fine-tuned", "auto"]
    finetune_steps: int | None
    finetune_settings: Mapping[str, Any] | None
    classes_: NDArray[Any]

    def __init__(
        self,
        *,
        image_shape: Sequence[int] | None = None,
        model: Model | str | os.PathLike[str] | None = None,
        preset: str | None = "nano",
        steps: int | None = None,
        epochs: float | None = None,
        minutes: float | None = None,
        n_px: int | tuple[int, int] | None = None,
        colors: int | None = None,
        head: Literal["linear", "fine-tuned", "auto"] = "linear",
        finetune_steps: int | None = 200,
        finetune_settings: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
        threads: int = 0,
        device: str = "auto",
        settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self.image_shape = image_shape
        self.model = model
        self.preset = preset
        self.steps = steps
        self.epochs = epochs
        self.minutes = minutes
        self.n_px = n_px
        self.colors = colors
        self.head = head
        self.finetune_steps = finetune_steps
        self.finetune_settings = finetune_settings
        self.random_state = random_state
        self.threads = threads
        self.device = device
        self.settings = settings
        self.verbose = verbose

    def fit(self, X: Any, y: ArrayLike) -> PixelClassifier:
        """Pretrain a model on images, and train a classifier on top of it.

        Parameters
        ----------
        X : images or rows
            See :mod:`igpt.sklearn`.
        y : array-like, (n,)
            Classes: integers or strings.

        Returns
        -------
        PixelClassifier
            Itself.
        """
        if y is None:
            raise ValueError("PixelClassifier requires y to be passed, but the target y is None")
        if self.head not in ("linear", "fine-tuned", "auto"):
            raise ValueError(f'head={self.head!r}: wanted "linear", "fine-tuned" or "auto"')
        images = self._images(X, reset=True)
        targets = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y"), warn=True)
        check_consistent_length(images, targets)
        check_classification_targets(targets)
        classes, labels = np.unique(targets, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y has one class, {classes[0]!r}: a classifier tells at least two apart")
        seed, (train, held) = self._seed(), _held_out(len(images), 0.1, labels)
        learned, validation = [images[i] for i in train], [images[i] for i in held]
        self.model_ = finetune(
            self._pretrained(learned, validation, seed),
            learned,
            labels[train],
            validation=(validation, labels[held]),
            head=self.head,
            classes=[str(one) for one in classes],
            steps=None if self.head == "linear" else self.finetune_steps,
            seed=seed,
            device=self.device,
            threads=self.threads,
            callback=_warn,
            progress=bool(self.verbose),
            settings=self.finetune_settings,
        )
        self.classes_ = classes
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Compute the probability of each class.

        Parameters
        ----------
        X : images or rows
            See :mod:`igpt.sklearn`.

        Returns
        -------
        ndarray of float64, (n, classes)
            Probabilities in the order of `classes_`.
        """
        check_is_fitted(self, "model_")
        return self.model_.predict_proba(self._images(X, reset=False))

    def predict(self, X: Any) -> NDArray[Any]:
        """Compute the likeliest class of each image.

        Parameters
        ----------
        X : images or rows
            See :mod:`igpt.sklearn`.

        Returns
        -------
        ndarray, (n,)
            Values of `classes_`.
        """
        likeliest = self.predict_proba(X).argmax(axis=1)
        found: NDArray[Any] = self.classes_[likeliest]
        return found


class OddImageDetector(OutlierMixin, _PixelEstimator):  # type: ignore[misc]
    """A detector of odd images that learns from good ones alone.

    `fit` pretrains a model on good images as :class:`PixelFeatures` does, and fits the detector of
    :meth:`igpt.Model.fit_inspection`. About a fifth of the images is held out. Their scores give the threshold: the
    conformal quantile, beyond which a good image lies with probability `false_alarms` at most.

    By default 300 steps of about 4,096 pixels each are pretrained. On two cores they take about a minute for images of
    8×8 pixels and three for 32×32. Fewer odd images are missed after more steps, or with a pretrained `model`.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c), optional
        Shape of the image in each row of `X`; see :mod:`igpt.sklearn`.
    model : Model, path or None
        A pretrained model. `fit` then trains nothing, and the parameters of training have no effect. The model is
        copied, not changed.
    preset : {"nano", "tiny", "xs", "s", "m", "l", "xl"} or None
        Size of the network. None chooses it from `minutes`.
    steps, epochs, minutes : number, optional
        Budget of pretraining: at most one of them. Without any it is 300 steps. With `minutes`, results differ from run to
        run.
    n_px : int or (height, width), optional
        Size of the model's images; by default the images' own, or 32 pixels where that is too large.
    colors : int, optional
        Colours of the palette; by default 16 for grey images, otherwise 512. Images with fewer colours get a palette of
        their own colours.
    false_alarms : float
        Share of good images that may be called odd, between 0 and 1.
    random_state : int, RandomState instance or None
        An integer is the seed of training: results are the same each time.
    threads : int
        0 is one per core.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    settings : dict, optional
        Other keys of a config file, such as ``{"train.lr": 1e-3}``.
    verbose : bool
        Whether a progress bar is shown.

    Attributes
    ----------
    model_ : Model
        The model, fitted to the good images. Its `inspect` also gives p-values, and maps of where an image is odd.
    offset_ : float
        Score below which an image is odd: the negative of the threshold of :meth:`igpt.Model.inspect`.
    false_alarms_ : float
        Rate that the threshold promises: `false_alarms`, or more where there are too few good images for it.
    image_shape_ : (h, w, c) or None
        Shape of the images in `fit`; None if they have several.
    value_range_ : (float, float)
        Values that are black and white.
    n_features_in_ : int
        Number of values of an image in `fit`; missing if images have several sizes.
    feature_names_in_ : ndarray of str, (n_features_in_,)
        Names of the columns of `X`, where it had names.

    Notes
    -----
    A rate of 5 % needs about 95 good images, a rate of 1 % about 735. With fewer, `fit` warns, and the threshold is the highest
    score of the images that are held out. With k of them a good image is called odd with probability 1 / (k + 1) at most.
    This is `false_alarms_`.

    A fifth of the images is held out, half of them where there are four or fewer.

    Pretraining keeps the weights that predict half of the held-out images best, so that these may be a little likelier than
    new images. With a given `model` the promise holds only if the model was not pretrained on the held-out images.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from igpt.sklearn import OddImageDetector
    >>> good = load_digits(n_class=1).data
    >>> network = {"model.n_layer": 1, "model.n_head": 2, "model.n_embd": 16}
    >>> detector = OddImageDetector(image_shape=(8, 8), steps=20, random_state=0, settings=network).fit(good)
    >>> noise = np.random.default_rng(0).uniform(0, 16, (5, 64))
    >>> detector.predict(noise)
    array([-1, -1, -1, -1, -1])
    """

    false_alarms: float
    false_alarms_: float
    offset_: float

    def __init__(
        self,
        *,
        image_shape: Sequence[int] | None = None,
        model: Model | str | os.PathLike[str] | None = None,
        preset: str | None = "nano",
        steps: int | None = None,
        epochs: float | None = None,
        minutes: float | None = None,
        n_px: int | tuple[int, int] | None = None,
        colors: int | None = None,
        false_alarms: float = 0.05,
        random_state: int | np.random.RandomState | None = None,
        threads: int = 0,
        device: str = "auto",
        settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self.image_shape = image_shape
        self.model = model
        self.preset = preset
        self.steps = steps
        self.epochs = epochs
        self.minutes = minutes
        self.n_px = n_px
        self.colors = colors
        self.false_alarms = false_alarms
        self.random_state = random_state
        self.threads = threads
        self.device = device
        self.settings = settings
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> OddImageDetector:
        """Learn what good images look like.

        Parameters
        ----------
        X : images or rows
            Good images; see :mod:`igpt.sklearn`.
        y : None
            Has no effect.

        Returns
        -------
        OddImageDetector
            Itself.
        """
        if not (isinstance(self.false_alarms, Real) and 0 < self.false_alarms < 1):
            raise ValueError(f"false_alarms={self.false_alarms!r}: wanted a share of good images between 0 and 1")
        images = self._images(X, reset=True)
        if len(images) < 2:
            raise ValueError("X has one sample: a detector learns from some images and holds others out, so give two or more")
        train, held = _held_out(len(images), 0.2 if len(images) > 4 else 0.5)
        good, held_out = [images[i] for i in train], [images[i] for i in held]
        model = self._pretrained(good, held_out[::2], self._seed())
        if model is self.model:
            model = copy.deepcopy(model)
        model.fit_inspection(good, held_out)
        self.false_alarms_ = _rate(model, float(self.false_alarms), len(held_out))
        if self.false_alarms_ > self.false_alarms:
            warnings.warn(
                f"{len(images)} good images are too few for false_alarms={self.false_alarms:g}: the threshold is the highest "
                f"score of those that are held out, and a good image is called odd with probability {self.false_alarms_:.3g}",
                stacklevel=2,
            )
        self.model_ = model
        self.offset_ = -model.threshold(self.false_alarms_)
        return self

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Compute how normal each image is.

        Parameters
        ----------
        X : images or rows
            See :mod:`igpt.sklearn`.

        Returns
        -------
        ndarray of float64, (n,)
            The negative of the scores of :meth:`igpt.Model.inspect`: the higher, the more normal.
        """
        check_is_fitted(self, "model_")
        return -self.model_.inspect(self._images(X, reset=False), self.false_alarms_).scores

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Compute how far each image is above the threshold of normality.

        Parameters
        ----------
        X : images or rows
            See :mod:`igpt.sklearn`.

        Returns
        -------
        ndarray of float64, (n,)
            ``score_samples(X) - offset_``: negative for odd images.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Tell odd images from good ones.

        Parameters
        ----------
        X : images or rows
            See :mod:`igpt.sklearn`.

        Returns
        -------
        ndarray of int64, (n,)
            -1 for odd images, 1 for the others.
        """
        return np.where(self.decision_function(X) < 0, -1, 1).astype(np.int64)


def _sorted_out(X: Any) -> tuple[list[Any] | None, Any]:
    """Return `X` as a list of images, or None and what scikit-learn makes an array of."""
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
        X = list(X)
    if isinstance(X, (list, tuple)) and len(X) > 0:
        first = X[0]
        if isinstance(first, (str, os.PathLike)) or hasattr(first, "convert"):
            return list(X), None
        if getattr(first, "ndim", 0) in (2, 3):
            one_size = len({np.shape(image) for image in X}) == 1
            return (None, np.stack([np.asarray(image) for image in X])) if one_size else (list(X), None)
    if not hasattr(X, "ndim"):
        with contextlib.suppress(ValueError):
            array = np.asarray(X)
            return None, array if array.ndim in (3, 4) else X
    return None, X


def _shape_of(X: Any) -> tuple[int, int, int]:
    """Return the shape (h, w, c) of each image of an array with 3 or 4 axes."""
    shape = tuple(int(part) for part in X.shape)
    if len(shape) == 3 and shape[2] not in (1, 3):
        return shape[1], shape[2], 1
    if len(shape) == 4 and shape[3] in (1, 3):
        return shape[1], shape[2], shape[3]
    hint = "one image? Then give X[None]" if len(shape) == 3 else "channels come last"
    raise ValueError(f"X has the shape {shape}: wanted images (n, h, w) or (n, h, w, c) with 1 or 3 channels ({hint})")


def _near_square(count: int) -> tuple[int, int, int]:
    """Return the shape of the grey image that holds `count` values and is as square as possible."""
    width = math.isqrt(count - 1) + 1
    return -(-count // width), width, 1


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the pixels of an image until both sides are long enough for a model."""
    down, across = (-(-_SIDE // side) for side in image.shape[:2])
    return image if down == across == 1 else np.ascontiguousarray(image.repeat(down, axis=0).repeat(across, axis=1))


def _distinct_colors(images: list[NDArray[np.uint8]], enough: int) -> int:
    """Count the different colours of images, up to at least `enough`."""
    seen: set[int] = set()
    for image in images:
        weights = [1] if image.shape[2] == 1 else [1, 256, 65536]
        seen.update(np.unique(image.astype(np.int64) @ np.array(weights)).tolist())
        if len(seen) >= enough:
            break
    return len(seen)


def _held_out(count: int, share: float, labels: NDArray[np.intp] | None = None) -> tuple[list[int], list[int]]:
    """Return the positions of the images that are trained on, and of a share that is held out.

    With `labels` each class is among the images that are trained on. Where nothing can be spared, all are both.
    """
    everyone = list(range(count))
    left = None if labels is None else np.bincount(labels)
    wanted = max(1, round(count * share)) if count * share >= 0.9 else 0
    held: list[int] = []
    for i in np.random.RandomState(0).permutation(count):
        if len(held) == wanted:
            break
        if left is not None and labels is not None:
            if left[labels[i]] == 1:
                continue
            left[labels[i]] -= 1
        held.append(int(i))
    return (sorted(set(everyone) - set(held)), sorted(held)) if held else (everyone, everyone)


def _rate(model: Model, wanted: float, held_out: int) -> float:
    """Return the rate of false alarms that a fitted model can promise: the one that is wanted, or the lowest above it."""
    for rate in [wanted, *(1 / (scores + 1) for scores in range(held_out, 1, -1))]:
        with contextlib.suppress(ValueError):
            model.threshold(rate)
            return rate
    return 0.5


def _probe_scores(features: NDArray[np.float32], y: Any) -> NDArray[np.float64] | None:
    """Return the score of a linear probe of each layer on a held-out fifth; None where there is nothing to compare.

    `features` are (n, layers, n_embd).
    """
    targets = check_array(y, ensure_2d=False, dtype=None, input_name="y")
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    check_consistent_length(features, targets)
    count = len(targets)
    if count < 5:
        return None
    is_class = type_of_target(targets, input_name="y", raise_unknown=True) in ("binary", "multiclass")
    stratify = None
    if is_class:
        _, sizes = np.unique(targets, return_counts=True)
        stratify = targets if sizes.min() >= 2 and len(sizes) <= math.ceil(count / 5) else None
    train, test = train_test_split(np.arange(count), test_size=math.ceil(count / 5), random_state=0, stratify=stratify)
    if is_class and len(np.unique(targets[train])) < 2:
        return None
    found = []
    for layer in range(features.shape[1]):
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000) if is_class else Ridge())
        with warnings.catch_warnings():
            # Few steps rank the layers, too. R² of one held-out value is undefined.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            probe.fit(features[train, layer], targets[train])
            found.append(probe.score(features[test, layer], targets[test]))
    scores = np.array(found, np.float64)
    return None if np.isnan(scores).any() else scores


def _warn(event: dict[str, Any]) -> None:
    if event["event"] == "warning":
        warnings.warn(event["text"], stacklevel=2)
