"""What several tests use."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np

#: A network that trains in a second.
SETTINGS: dict[str, Any] = {"model.n_embd": 16, "model.n_layer": 1, "model.n_head": 2, "train.eval_images": 8}

#: Arguments of a training that takes a second, but for its budget.
QUICK: dict[str, Any] = {"n_px": 8, "colors": 16, "batch": 4, "settings": SETTINGS, "progress": False}


def program(*arguments: str | os.PathLike[str]) -> subprocess.CompletedProcess[str]:
    """Run the program as `python -m igpt`."""
    command = [sys.executable, "-m", "igpt", *map(os.fspath, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays have one type, one shape and the same bits."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
