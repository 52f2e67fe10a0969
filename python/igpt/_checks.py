"""Checks of arguments."""

from __future__ import annotations

import operator
from typing import SupportsIndex

_MOST = 2**63 - 1


def whole(name: str, value: SupportsIndex, least: int = 0, most: int = _MOST) -> int:
    """Return an argument that is an integer from `least` to `most`; any other is refused by its name."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r}: wanted an integer") from None
    if not least <= number <= most:
        bounds = f"at least {least}" if most == _MOST else f"{least} to {most}"
        raise ValueError(f"{name}={number}: wanted {bounds}")
    return number


def seed_of(value: SupportsIndex) -> int:
    """Return a seed: 64 bits."""
    return whole("seed", value, most=2**64 - 1)

