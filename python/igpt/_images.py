"""Images that a person has at hand, as the arrays that the library takes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _igpt

#: Images of any accepted kind: see :func:`igpt.images`.
Images: TypeAlias = Any

_TAKEN = (
    "images are taken as arrays uint8 or float in [0, 1] of shape (N, H, W) or (N, H, W, C) with 1 or 3 channels, "
    "as lists of such images, of PIL images or of paths, or as a folder"
)


def images(given: Images, *, channels_first: bool = False) -> list[NDArray[np.uint8]]:
    """Bring images of any accepted kind into the form in which every function takes them.

    Every function of the package does this by itself; only channels that come first have to be told.

    Parameters
    ----------
    given : images
        An array of uint8 or of floats in [0, 1], (N, H, W) or (N, H, W, C) with 1 or 3 channels, or what becomes one
        through ``__array__`` or ``__dlpack__``; a list of such images, of PIL images or of paths; a folder or a file.
        Transparent pixels are laid on white.
    channels_first : bool
        Whether arrays are (N, C, H, W), and those of a list (C, H, W).

    Returns
    -------
    list of ndarray of uint8, (H, W, C)
        The images, each C-contiguous.

    Raises
    ------
    ValueError, TypeError
        For shapes, types and values that are not images; the message says what was given and what is taken.
    FileNotFoundError
        When a path does not exist.

    Examples
    --------
    >>> import igpt, numpy
    >>> [image.shape for image in igpt.images(numpy.zeros((2, 3, 16, 24)), channels_first=True)]
    [(16, 24, 3), (16, 24, 3)]
    """
    return arrays(given, channels_first=channels_first)


def arrays(given: Images, *, channels_first: bool = False) -> list[NDArray[np.uint8]]:
    """Do what :func:`images` does; the name is free where an argument is called `images`."""
    if isinstance(given, (str, os.PathLike)):
        found = _of_path(given)
    elif _is_pil(given):
        raise TypeError("one PIL image was given where several are taken: put it into a list, [image]")
    elif _is_array(given):
        found = _of_batch(_to_numpy(given), channels_first)
    elif isinstance(given, Iterable) and not isinstance(given, (bytes, bytearray, Mapping)):
        found = [_one(image, i, channels_first) for i, image in enumerate(given)]
    else:
        raise TypeError(f"{type(given).__name__} is no set of images: {_TAKEN}")
    if not found:
        raise ValueError(f"no images are given: {_TAKEN}")
    return found


def _is_pil(image: Any) -> bool:
    return hasattr(image, "convert") and hasattr(image, "mode")


def _is_array(given: Any) -> bool:
    return hasattr(given, "__array__") or hasattr(given, "__dlpack__")


def _to_numpy(given: Any) -> NDArray[Any]:
    if not hasattr(given, "__array__"):
        return np.from_dlpack(given)
    try:
        return np.asarray(given)
    except (TypeError, RuntimeError):
        # Tensors of torch on another device, or that record gradients.
        if not hasattr(given, "detach"):
            raise
        return np.asarray(given.detach().cpu())


def _of_path(path: str | os.PathLike[str]) -> list[NDArray[np.uint8]]:
    if not Path(path).exists():
        raise FileNotFoundError(f"{os.fspath(path)} does not exist: {_TAKEN}; igpt.data.load has the images of data sets by name")
    return _igpt.Dataset.open(spec_of(Path(path))).arrays("all")


def spec_of(images: str | os.PathLike[str]) -> str:
    """What the library opens data by: a text may name a data set, a path is a path."""
    return images if isinstance(images, str) else os.path.abspath(images)


def _of_batch(batch: NDArray[Any], channels_first: bool) -> list[NDArray[np.uint8]]:
    if batch.dtype == object and batch.ndim > 0:
        return [_one(image, i, channels_first) for i, image in enumerate(batch)]
    what = f"an array {batch.dtype} {batch.shape}"
    if channels_first:
        if batch.ndim != 4 or batch.shape[1] not in (1, 3):
            raise ValueError(f"{what} is not (N, C, H, W) with 1 or 3 channels")
        batch = np.moveaxis(batch, 1, 3)
    elif batch.ndim == 2 or (batch.ndim == 3 and batch.shape[2] in (1, 3)):
        raise ValueError(f"{what} is no set of images (one image? Then give images[None]): {_TAKEN}")
    elif batch.ndim == 3:
        batch = batch[..., None]
    elif batch.ndim != 4 or batch.shape[3] not in (1, 3):
        hint = ""
        if batch.ndim == 4 and batch.shape[1] in (1, 3):
            hint = " (of channels first? Then give igpt.images(array, channels_first=True))"
        elif batch.ndim == 4 and batch.shape[3] == 4:
            hint = " (with transparency? Then give PIL images, which are laid on white)"
        raise ValueError(f"{what} is no set of images{hint}: {_TAKEN}")
    if len(batch) and not batch.size:
        raise ValueError(f"{what} has images without pixels")
    return list(np.ascontiguousarray(_bytes(batch, "the array")))


def _one(image: Any, i: int, channels_first: bool) -> NDArray[np.uint8]:
    if isinstance(image, (str, os.PathLike)):
        found = _of_path(image)
        if len(found) != 1 or Path(image).is_dir():
            raise ValueError(f"{os.fspath(image)} is no image file, but a folder in a list of images")
        return found[0]
    if _is_pil(image):
        pixels = _of_pil(image)
    elif _is_array(image) or isinstance(image, (list, tuple)):
        pixels = _to_numpy(image) if _is_array(image) else np.asarray(image)
        if channels_first and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, 2)
    else:
        raise TypeError(f"image {i} is a {type(image).__name__}: {_TAKEN}")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"image {i} is an array {pixels.dtype} {pixels.shape}: wanted (H, W), (H, W, 1) or (H, W, 3)")
    return np.ascontiguousarray(_bytes(pixels, f"image {i}"))


def _of_pil(image: Any) -> NDArray[Any]:
    """Pixels as those of the image's file: grey or RGB, transparent ones on white."""
    if image.mode.startswith("I;16"):
        # Of 16 bits the files' upper ones are taken; PIL would clip them.
        return np.rint(np.asarray(image) / 257).astype(np.uint8)
    if image.mode in ("I", "F"):
        return np.asarray(image)
    grey = image.mode in ("1", "L", "LA", "La")
    if not (image.mode.endswith(("A", "a")) or "transparency" in image.info):
        return np.asarray(image.convert("L" if grey else "RGB"))
    pixels = np.asarray(image.convert("RGBA")).astype(np.uint16)
    colors, opacity = pixels[..., :3], pixels[..., 3:]
    mixed = ((colors * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
    return mixed[..., :1] if grey else mixed


def _bytes(pixels: NDArray[Any], what: str) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return np.where(pixels, 255, 0).astype(np.uint8)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise TypeError(f"{what} has the type {pixels.dtype}: wanted uint8, or floats in [0, 1]")
    if np.isnan(pixels).any():
        raise ValueError(f"{what} has values that are NaN: wanted floats in [0, 1] (or uint8)")
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(f"{what} has floats from {pixels.min():g} to {pixels.max():g}: wanted [0, 1] (or uint8)")
    levels: NDArray[np.uint8] = np.rint(pixels * 255).astype(np.uint8)
    return levels
