"""Pretraining and fine-tuning."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _igpt
from ._images import Images, arrays
from ._model import Model
from ._progress import progress_bar

#: Called with a dictionary for each step, validation, checkpoint and message; see :func:`pretrain`.
Callback = Callable[[dict[str, Any]], None]


def pretrain(
    images: Images,
    out: str | os.PathLike[str] | None = None,
    preset: str | None = "nano",
    recipe: str = "modern",
    *,
    steps: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    n_px: int | tuple[int, int] | None = None,
    colors: int | None = None,
    batch: int | None = None,
    objective: str = "autoregressive",
    augment: str | None = None,
    start: str | os.PathLike[str] | None = None,
    resume: bool = False,
    seed: int = 0,
    device: str = "auto",
    precision: str | None = None,
    threads: int = 0,
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
        Model or run whose weights training starts from.
    resume : bool
        Go on with the stopped run in `out`.
    seed, device, precision, threads
        As on the command line; 0 threads is one per core.
    callback : callable, optional
        Called with a dictionary: ``event`` is "step" (``step``, ``steps``, ``loss``, ``lr``, ``tokens_per_second``, ``seconds``,
        ``seconds_left``), "validation" (``step``, ``loss``, ``bits_per_dim``, ``accuracy``, ``best``), "checkpoint" (``path``), "phase", "note"
        or "warning" (``text``). An exception that it raises stops the training and is raised again.
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
    """
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
    _budget(keys, steps, epochs, minutes, required=not resume)
    if resume:
        keys = {}
    dataset = _dataset(images, None, None)
    chosen = _settings(keys, settings, seed, device, precision, threads)
    with progress_bar(progress, callback) as listener:
        inner = _igpt.pretrain(dataset, chosen, _place(out, resume), listener, (device, None, threads))
    return Model(inner, device, None, threads)


def finetune(
    model: Model | str | os.PathLike[str],
    images: Images,
    labels: ArrayLike | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    head: str = "fine-tuned",
    classes: Sequence[str] | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    batch: int | None = None,
    recipe: str = "modern",
    labels_per_class: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str | None = None,
    threads: int = 0,
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
    head : {"fine-tuned", "linear", "auto"}
        The whole network, a linear probe on frozen features, or the better of both on validation.
    classes : list of str, optional
        Names of the classes; by default the sorted labels.
    steps, epochs, minutes : number, optional
        At most one; by default three passes over the images, at least 1,000 steps.

    Other parameters are those of :func:`pretrain`.

    Returns
    -------
    Model
        A classifier: ``predict``, ``predict_proba``, ``classes``.
    """
    if not isinstance(model, Model):
        from ._model import load

        model = load(model, device=device, threads=threads)
    keys: dict[str, Any] = {
        "finetune.head": head,
        "finetune.labels_per_class": labels_per_class,
        "train.recipe": recipe,
        "train.batch": batch,
    }
    _budget(keys, steps, epochs, minutes, required=False)
    dataset = _dataset(images, labels, classes)
    chosen = _settings(keys, settings, seed, device, precision, threads)
    with progress_bar(progress, callback) as listener:
        inner = _igpt.finetune(
            model._inner, dataset, chosen, _place(out, False), listener, (device, None, threads)
        )
    return Model(inner, device, None, threads)


def _place(out: str | os.PathLike[str] | None, resume: bool) -> tuple[str, bool] | None:
    if out is None:
        if resume:
            raise ValueError("resume=True needs out, the run directory to go on with")
        return None
    return os.fspath(out), resume


def _budget(
    keys: dict[str, Any], steps: int | None, epochs: float | None, minutes: float | None, *, required: bool
) -> None:
    given = {"train.steps": steps, "train.epochs": epochs, "train.minutes": minutes}
    count = sum(value is not None for value in given.values())
    if count > 1 or (required and count == 0):
        raise ValueError("give one of steps=, epochs= and minutes=")
    for key in ("train.epochs", "train.minutes"):
        value = given[key]
        given[key] = None if value is None else float(value)
    keys.update(given)


def _settings(
    keys: Mapping[str, Any],
    more: Mapping[str, Any] | None,
    seed: int,
    device: str,
    precision: str | None,
    threads: int,
) -> list[str]:
    all_keys = {
        **keys,
        "train.seed": seed,
        "train.device": device,
        "train.precision": precision,
        "train.threads": threads,
        **(more or {}),
    }
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
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _dataset(images: Images, labels: ArrayLike | None, classes: Sequence[str] | None) -> _igpt.Dataset:
    if isinstance(images, (str, os.PathLike)) and labels is None:
        return _igpt.Dataset.open(os.fspath(images))
    found = arrays(images)
    if labels is None:
        return _igpt.Dataset.of_arrays(found, None, [])
    given = np.asarray(labels)
    if given.shape != (len(found),):
        raise ValueError(f"labels have the shape {given.shape}, but there are {len(found)} images")
    if classes is not None and np.issubdtype(given.dtype, np.integer):
        names, positions = list(classes), given
        if given.size and (given.min() < 0 or given.max() >= len(names)):
            raise ValueError(f"labels from {given.min()} to {given.max()} for {len(names)} classes")
    else:
        values, positions = np.unique(given, return_inverse=True)
        names = [str(value) for value in values] if classes is None else list(classes)
        if len(names) != len(values):
            raise ValueError(f"{len(names)} names for {len(values)} classes")
    return _igpt.Dataset.of_arrays(found, [int(label) for label in positions], names)
