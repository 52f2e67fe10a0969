"""Pretraining and fine-tuning."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _igpt
from ._checks import seed_of, whole
from ._images import Images, arrays, spec_of
from ._model import Model, load
from ._progress import progress_bar

#: Keys of a config file that say how long is trained.
_BUDGET = ("train.steps", "train.epochs", "train.minutes")

#: Called with a dictionary for each step, validation, checkpoint and message; see :func:`pretrain`.
Callback = Callable[[dict[str, Any]], None]


def pretrain(
    images: Images,
    out: str | os.PathLike[str] | None = None,
    preset: str | None = "nano",
    recipe: Literal["modern", "paper"] = "modern",
    *,
    validation: Images | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    n_px: int | tuple[int, int] | None = None,
    colors: int | None = None,
    batch: int | None = None,
    objective: Literal["autoregressive", "masked"] = "autoregressive",
    augment: str | None = None,
    start: str | os.PathLike[str] | None = None,
    resume: bool = False,
    extend: bool = False,
    seed: SupportsIndex = 0,
    device: str = "auto",
    precision: Literal["f32", "bf16"] | None = None,
    threads: SupportsIndex = 0,
    callback: Callback | None = None,
    progress: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Model:
    """Pretrain a model on images without labels.

    Parameters
    ----------
    images : images or str
        Images of any accepted kind, or what ``--data`` takes: ``"emoji"``, ``"fashion-mnist"``, a folder.
    out : path, optional
        Run directory for checkpoints, metrics, samples and the model; without it only the model is returned.
    preset : {"nano", "tiny", "xs", "s", "m", "l", "xl"}, optional
        Size of the network. None chooses it from `minutes`.
    recipe : {"modern", "paper"}
        Named bundle of hyperparameters.
    validation : images, optional
        Other images, which choose the weights; then all of `images` are trained on. By default a tenth of `images` is
        held out for that, and another tenth for tests.
    steps, epochs, minutes : number, optional
        The budget: exactly one of them.
    n_px : int or (height, width), optional
        Size of the model's images; by default the images' own.
    colors : int, optional
        Colours of the palette; 512 by default, 16 for grey images.
    batch : int, optional
        Images per step.
    objective : {"autoregressive", "masked"}
        What is predicted.
    augment : str, optional
        ``"none"``, ``"shift"``, ``"crop"``, ``"imagenet"``, ``"cifar"`` or ``"tiles"``; chosen from the images by default.
    start : path, optional
        Directory of a model or a run whose weights training starts from.
    resume : bool
        Go on with the stopped run in `out`, to the same weights as if it had not been stopped. The run keeps its own
        settings and budget: of the other arguments only `images`, `validation`, `device`, `threads`, `callback`,
        `progress` and `settings` are used.
    extend : bool
        Extend the run in `out`, which is over, by the budget that is given. Otherwise as `resume`.
    seed : int
        The same seed trains the same model.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    precision : {"f32", "bf16"}, optional
        Number format of matrix products; by default the quicker one on this processor.
    threads : int
        0 is one per core.
    callback : callable, optional
        Called with a dictionary, whose ``event`` is "step" (``step``, ``steps``, ``loss``, ``class_loss``, ``lr``,
        ``tokens_per_second``, ``seconds``, ``seconds_left``), "validation" (``step``, ``loss``, ``bits_per_dim``,
        ``accuracy``, ``best``), "checkpoint" (``path``), "phase", "note" or "warning" (``text``). Losses are in nats per
        token. An exception that it raises stops the training and is raised again.
    progress : bool
        Show a progress bar (of tqdm, where it is installed).
    settings : dict, optional
        Any other keys of a config file, such as ``{"train.lr": 1e-3}``.

    Returns
    -------
    Model
        With the weights of the lowest validation loss.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, after a checkpoint is written to `out`; ``resume=True`` goes on.
    ValueError
        For settings that don't fit together; every problem is named.
    FileNotFoundError
        For a data set, model or run that is not there.
    igpt.Error
        When the loss is not finite.

    Examples
    --------
    >>> import igpt
    >>> images = igpt.data.load("emoji", "test").images
    >>> model = igpt.pretrain(images, steps=2, n_px=8, colors=16, progress=False)
    >>> model.sample(4).shape
    (4, 8, 8, 3)
    """
    if isinstance(start, Model):
        raise TypeError("start is a Model: wanted its directory, which a run reads again when it is resumed; save the model first")
    keys: dict[str, Any] = {
        "model.preset": preset,
        "model.n_px": list(n_px) if isinstance(n_px, tuple) else n_px,
        "model.start": None if start is None else os.fspath(start),
        "palette.colors": colors,
        "train.recipe": recipe,
        "train.objective": objective,
        "train.batch": batch,
        "data.augment": augment,
    }
    if start is not None:
        keys["model.preset"] = None
    keys.update({"train.seed": seed_of(seed), "train.precision": precision})
    keys.update(_budget(steps, epochs, minutes, required=not resume))
    keys, place = _place(keys, out, resume, extend)
    count, dataset = whole("threads", threads), _dataset(images, None, None, validation)
    chosen = _settings(keys, settings, device, count)
    with progress_bar(progress, callback) as listener:
        inner = _igpt.pretrain(dataset, chosen, place, listener, (device, None, count))
    return Model(inner, device, None, count)


def finetune(
    model: Model | str | os.PathLike[str],
    images: Images,
    labels: ArrayLike | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    validation: tuple[Images, ArrayLike] | None = None,
    head: Literal["fine-tuned", "linear", "auto"] = "fine-tuned",
    classes: Sequence[str] | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    batch: int | None = None,
    recipe: Literal["modern", "paper"] = "modern",
    labels_per_class: int | None = None,
    resume: bool = False,
    extend: bool = False,
    seed: SupportsIndex = 0,
    device: str = "auto",
    precision: Literal["f32", "bf16"] | None = None,
    threads: SupportsIndex = 0,
    callback: Callback | None = None,
    progress: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Model:
    """Fine-tune a pretrained model as a classifier.

    Parameters
    ----------
    model : Model or path
        The pretrained model.
    images : images or str
        Images of any accepted kind, or a ``--data`` spec with labels.
    labels : array of int or str, (N,), optional
        Classes of the images; left out for a ``--data`` spec.
    out : path, optional
        Run directory for checkpoints, metrics and the model; without it only the model is returned.
    validation : (images, labels), optional
        Other images with their labels, which choose the weights; then all of `images` are trained on. By default a tenth
        of `images` is held out for that, and another tenth for tests; a data set by its name has parts of its own.
    head : {"fine-tuned", "linear", "auto"}
        The whole network, a linear probe on frozen features, or the better of both on validation.
    classes : list of str, optional
        Names of the classes in the order of their positions; by default the sorted labels. Labels are names of them,
        or positions if they are integers.
    steps, epochs, minutes : number, optional
        At most one; by default three passes over the images, at least 1,000 steps.
    batch : int, optional
        Images per step.
    recipe : {"modern", "paper"}
        Named bundle of hyperparameters.
    labels_per_class : int, optional
        Train on so many labelled images of each class.
    resume, extend : bool
        As of :func:`pretrain`. `model`, `images`, `labels` and `validation` are those of the start.
    seed : int
        The same seed trains the same classifier.
    device : str
        As of :func:`pretrain`.
    precision : {"f32", "bf16"}, optional
        As of :func:`pretrain`.
    threads : int
        As of :func:`pretrain`.
    callback : callable, optional
        As of :func:`pretrain`; the ``class_loss`` of a step is in nats per label.
    progress : bool
        As of :func:`pretrain`.
    settings : dict, optional
        As of :func:`pretrain`.

    Returns
    -------
    Model
        A classifier: ``predict``, ``predict_proba``, ``classes``.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, after a checkpoint is written to `out`.
    ValueError
        For labels that don't fit the images, and settings that don't fit together.
    FileNotFoundError
        For a data set or model that is not there.
    """
    if not isinstance(model, Model):
        model = load(model, device=device, threads=threads)
    keys: dict[str, Any] = {
        "finetune.head": head,
        "finetune.labels_per_class": labels_per_class,
        "train.recipe": recipe,
        "train.batch": batch,
        "train.seed": seed_of(seed),
        "train.precision": precision,
    }
    keys.update(_budget(steps, epochs, minutes, required=extend))
    keys, place = _place(keys, out, resume, extend)
    count = whole("threads", threads)
    if labels is None and not isinstance(images, (str, os.PathLike)):
        raise ValueError("no labels are given: wanted one for each image, or a data set with labels by its name")
    if labels is None and validation is not None:
        raise ValueError(f"validation is given, but {os.fspath(images)} has a part for it: give images and labels, or leave it out")
    dataset = _dataset(images, labels, classes, validation)
    chosen = _settings(keys, settings, device, count)
    with progress_bar(progress, callback) as listener:
        inner = _igpt.finetune(model._inner, dataset, chosen, place, listener, (device, None, count))
    return Model(inner, device, None, count)


def _place(
    keys: dict[str, Any], out: str | os.PathLike[str] | None, resume: bool, extend: bool
) -> tuple[dict[str, Any], tuple[str, bool] | None]:
    """Return the keys that are set, and the run directory with whether there is a run in it to go on with."""
    if resume and extend:
        raise ValueError("resume and extend are both given: resume a run that was stopped, or extend one that is over")
    goes_on = resume or extend
    if goes_on:
        keys = {key: value for key, value in keys.items() if extend and key in _BUDGET}
    if out is None:
        if goes_on:
            raise ValueError(f"{'resume' if resume else 'extend'}=True needs out, the run directory to go on with")
        return keys, None
    return keys, (os.fspath(out), goes_on)


def _budget(steps: int | None, epochs: float | None, minutes: float | None, *, required: bool) -> dict[str, Any]:
    """Return the key of the budget that is given."""
    count = sum(value is not None for value in (steps, epochs, minutes))
    if count > 1 or (required and count == 0):
        raise ValueError("give one of steps=, epochs= and minutes=")
    values = (steps, None if epochs is None else float(epochs), None if minutes is None else float(minutes))
    return dict(zip(_BUDGET, values, strict=True))


def _settings(keys: Mapping[str, Any], more: Mapping[str, Any] | None, device: str, threads: int) -> list[str]:
    all_keys = {**keys, "train.device": device, "train.threads": threads, **(more or {})}
    return [f"{key}={_toml(value)}" for key, value in all_keys.items() if value is not None]


def _toml(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    return json.dumps(str(value), ensure_ascii=False)


def _dataset(
    images: Images, labels: ArrayLike | None, classes: Sequence[str] | None, validation: Any
) -> _igpt.Dataset:
    """Return the data set of `images`; `validation` are other images, with labels where `labels` are given."""
    if isinstance(images, (str, os.PathLike)) and labels is None and validation is None:
        return _igpt.Dataset.open(spec_of(images))
    others: list[NDArray[np.uint8]] = []
    if labels is None:
        if validation is not None:
            others = arrays(validation)
        return _igpt.Dataset.of_arrays(arrays(images) + others, None, [], len(others) or None)
    found, given = _labelled(images, labels)
    if validation is not None:
        if not (isinstance(validation, tuple) and len(validation) == 2):
            raise TypeError("validation of a classifier is a tuple of images and their labels: (images, labels)")
        others, more = _labelled(*validation)
        given = np.concatenate([given, more])
    names, positions = _classes(given, classes)
    return _igpt.Dataset.of_arrays(found + others, positions.tolist(), names, len(others) or None)


def _labelled(images: Images, labels: ArrayLike) -> tuple[list[NDArray[np.uint8]], NDArray[Any]]:
    found, given = arrays(images), np.asarray(labels)
    if given.shape != (len(found),):
        raise ValueError(f"labels have the shape {given.shape}, but there are {len(found)} images")
    return found, given


def _classes(labels: NDArray[Any], classes: Sequence[str] | None) -> tuple[list[str], NDArray[np.integer[Any]]]:
    """Names of the classes, and the position of each label among them."""
    if np.issubdtype(labels.dtype, np.floating) and not np.isfinite(labels).all():
        raise ValueError("labels have values that are NaN or infinite: wanted integers or names")
    if classes is None:
        values, positions = np.unique(labels, return_inverse=True)
        return [str(value) for value in values], positions
    names = list(classes)
    if np.issubdtype(labels.dtype, np.integer):
        if labels.min() < 0 or labels.max() >= len(names):
            raise ValueError(f"labels from {labels.min()} to {labels.max()} for {len(names)} classes")
        return names, labels
    numbers = {name: i for i, name in enumerate(names)}
    missing = sorted({str(label) for label in labels} - set(numbers))
    if missing:
        raise ValueError(f"no class is called {', '.join(missing)}: there are {', '.join(names)}")
    return names, np.array([numbers[str(label)] for label in labels])
