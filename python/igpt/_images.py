"""Images that a person has at hand, as the arrays that the library takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from . import _igpt

#: Arrays uint8 or float in [0, 1], (N, H, W) or (N, H, W, C); lists of arrays, PIL images or paths; a folder or a file.
Images: TypeAlias = Union[NDArray[Any], Sequence[Any], str, "os.PathLike[str]", Any]

_TAKEN = (
    "images are taken as arrays uint8 or float in [0, 1] of shape (N, H, W) or (N, H, W, C) with 1 or 3 channels, "
    "as lists of such images, of PIL images or of paths, or as a folder"
)


def arrays(images: Images, *, channels_first: bool = False) -> list[NDArray[np.uint8]]:
    """Bring images of any accepted kind into a list of uint8 arrays (H, W, C), C-contiguous.

    Raises
    ------
    ValueError, TypeError
        For shapes, types and values that are not images; the message says what was given and what is taken.
    FileNotFoundError
        When a path does not exist.
    """
    if isinstance(images, (str, os.PathLike)):
        return _of_path(images)
    if _is_array_like(images):
        return _of_batch(_to_numpy(images), channels_first)
    if isinstance(images, Sequence):
        found = [_one(image, i, channels_first) for i, image in enumerate(images)]
    elif hasattr(images, "__iter__"):
        found = [_one(image, i, channels_first) for i, image in enumerate(images)]
    else:
        raise TypeError(f"{type(images).__name__} is no set of images: {_TAKEN}")
    return found


def _is_pil(image: Any) -> bool:
    return hasattr(image, "convert") and hasattr(image, "mode")


def _is_array_like(images: Any) -> bool:
    if _is_pil(images):
        raise TypeError("one PIL image was given where several are taken: put it into a list, [image]")
    return hasattr(images, "__array__") or hasattr(images, "__dlpack__")


def _to_numpy(images: Any) -> NDArray[Any]:
    try:
        return np.asarray(images)
    except (TypeError, RuntimeError):
        # Tensors on another device, or that record gradients.
        if hasattr(images, "detach"):
            return np.asarray(images.detach().cpu())
        return np.from_dlpack(images)


def _of_path(path: str | os.PathLike[str]) -> list[NDArray[np.uint8]]:
    if not Path(path).exists():
        raise FileNotFoundError(f"{os.fspath(path)} does not exist: {_TAKEN}")
    return _igpt.Dataset.open(os.fspath(path)).arrays("all")


def _of_batch(batch: NDArray[Any], channels_first: bool) -> list[NDArray[np.uint8]]:
    if batch.dtype == object:
        return [_one(image, i, channels_first) for i, image in enumerate(batch)]
    if channels_first:
        if batch.ndim != 4 or batch.shape[1] not in (1, 3):
            raise ValueError(f"an array {batch.dtype} {batch.shape} is not (N, C, H, W) with 1 or 3 channels")
        batch = np.moveaxis(batch, 1, 3)
    elif batch.ndim == 3:
        batch = batch[..., None]
    elif batch.ndim != 4 or batch.shape[3] not in (1, 3):
        hint = ""
        if batch.ndim == 4 and batch.shape[1] in (1, 3):
            hint = " (of channels first? Then say channels_first=True)"
        elif batch.ndim == 2:
            hint = " (one image? Then give images[None])"
        raise ValueError(f"an array {batch.dtype} {batch.shape} is no set of images{hint}: {_TAKEN}")
    return list(np.ascontiguousarray(_bytes(batch, "the array")))


def _one(image: Any, i: int, channels_first: bool) -> NDArray[np.uint8]:
    if isinstance(image, (str, os.PathLike)):
        found = _of_path(image)
        if len(found) != 1:
            raise ValueError(f"{os.fspath(image)} is no image file, but a folder in a list of images")
        return found[0]
    if _is_pil(image):
        grey = image.mode in ("L", "1", "I;16", "I", "F", "LA")
        image = np.asarray(image.convert("L" if grey else "RGB"))
    pixels = _to_numpy(image)
    if channels_first and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"image {i} is an array {pixels.dtype} {pixels.shape}: wanted (H, W), (H, W, 1) or (H, W, 3)")
    return np.ascontiguousarray(_bytes(pixels, f"image {i}"))


def _bytes(pixels: NDArray[Any], what: str) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return np.where(pixels, 255, 0).astype(np.uint8)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise TypeError(f"{what} has the type {pixels.dtype}: wanted uint8, or floats in [0, 1]")
    if pixels.size and not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
        low, high = np.nanmin(pixels), np.nanmax(pixels)
        raise ValueError(f"{what} has floats from {low:g} to {high:g}: wanted [0, 1] (or uint8)")
    return np.rint(pixels * 255).astype(np.uint8)
