"""A progress bar over training: tqdm where it is installed, plain lines otherwise."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

#: Seconds between two plain lines.
_PAUSE = 5.0


@contextmanager
def progress_bar(
    shown: bool, callback: Callable[[dict[str, Any]], None] | None
) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """Yield what is to be called with each event: the user's callback, and a bar if it is to be shown."""
    if not shown:
        yield callback
        return
    bar = _Bar()
    try:
        yield lambda event: bar.hear(event, callback)
    finally:
        bar.close()


class _Bar:
    def __init__(self) -> None:
        self._bar: Any = None
        self._last = 0.0
        try:
            with warnings.catch_warnings():
                # In a notebook without ipywidgets the bar is one of text.
                warnings.simplefilter("ignore")
                self._tqdm: Any = import_module("tqdm.auto").tqdm
        except ImportError:
            self._tqdm = None

    def hear(self, event: dict[str, Any], callback: Callable[[dict[str, Any]], None] | None) -> None:
        if event["event"] == "step":
            self._step(event)
        elif event["event"] == "validation" and self._tqdm is None:
            self._write(f"step {event['step']}: validation loss {event['loss']:.4f} nats/token")
        elif event["event"] == "warning":
            self._write(f"warning: {event['text']}")
        if callback is not None:
            callback(event)

    def _step(self, event: dict[str, Any]) -> None:
        loss = event["loss"] if event["loss"] is not None else event["class_loss"]
        if self._tqdm is not None:
            if self._bar is None:
                self._bar = self._tqdm(total=event["steps"], initial=event["step"] - 1, unit="step", leave=False)
            self._bar.total = event["steps"]
            self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            self._bar.update(event["step"] - self._bar.n)
        elif time.monotonic() - self._last > _PAUSE:
            self._last = time.monotonic()
            left = event["seconds_left"]
            ends = "" if left is None else f", {left:.0f} s left"
            self._write(f"step {event['step']}/{event['steps'] or '?'}  loss {loss:.4f}{ends}")

    def _write(self, text: str) -> None:
        if self._bar is None:
            print(text, file=sys.stderr)
        else:
            self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
