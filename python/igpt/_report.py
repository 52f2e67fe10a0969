"""The one-file report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from . import _igpt


class Report:
    """A written report; in a notebook it is shown inline."""

    def __init__(self, html: str, path: Path | None) -> None:
        #: The page.
        self.html = html
        #: Where it was written, if anywhere.
        self.path = path

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.html)}" width="100%" height="700" style="border: 0"></iframe>'

    def __repr__(self) -> str:
        return f"Report({os.fspath(self.path) if self.path else f'{len(self.html):,} characters'})"


def report(
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] | None = None,
    *,
    images: int = 1000,
    probe_images: int = 1000,
    seed: int = 0,
) -> Report:
    """Write one page about runs: curves, likelihood beside baselines, samples, probes, several runs side by side.

    Parameters
    ----------
    runs : path or list of paths
        Run directories.
    out : path, optional
        HTML file to write.
    images : int
        Test images that are scored at most; 0 is all.
    probe_images : int
        Training images of the quick probe; 0 leaves it out.
    """
    paths = [runs] if isinstance(runs, (str, os.PathLike)) else list(runs)
    names = [os.fspath(path) for path in paths]
    html = _igpt.report(names, images, probe_images, seed, f"igpt.report({names!r})")
    if out is not None:
        Path(out).write_text(html, encoding="utf-8")
    return Report(html, None if out is None else Path(out))
