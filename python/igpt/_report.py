"""The one-file report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import SupportsIndex

from . import _igpt
from ._checks import seed_of, whole
from ._images import Images, arrays, spec_of


class Report:
    """A written report; in a notebook it is shown inline.

    Attributes
    ----------
    html : str
        The page.
    path : Path or None
        Where it was written, if anywhere.
    """

    def __init__(self, html: str, path: Path | None) -> None:
        self.html = html
        self.path = path

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.html)}" width="100%" height="700" style="border: 0"></iframe>'

    def __repr__(self) -> str:
        return f"Report({os.fspath(self.path) if self.path else f'{len(self.html):,} characters'})"


def report(
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] | None = None,
    *,
    data: Images | None = None,
    images: SupportsIndex = 1000,
    probe_images: SupportsIndex = 1000,
    seed: SupportsIndex = 0,
) -> Report:
    """Write one page about runs: curves, likelihood beside baselines, samples, probes, several runs side by side.

    Parameters
    ----------
    runs : path or list of paths
        Run directories.
    out : path, optional
        HTML file to write.
    data : images or str, optional
        Images to look at the runs with: by default their own, which have to be given where a run was trained on images
        in memory.
    images : int
        Test images that are scored at most; 0 is all.
    probe_images : int
        Training images of the quick probe; 0 leaves it out.
    seed : int
        Seed of the samples.

    Returns
    -------
    Report
        The page; a notebook shows it.

    Raises
    ------
    FileNotFoundError
        When a run, its data or the folder of `out` is not there.
    ValueError
        When there are no runs.
    """
    paths = [runs] if isinstance(runs, (str, os.PathLike)) else list(runs)
    names = [os.fspath(path) for path in paths]
    if not names:
        raise ValueError("no runs are given: wanted the path of one or more")
    if out is not None and not Path(out).absolute().parent.is_dir():
        raise FileNotFoundError(f"{Path(out).absolute().parent} is not there, but {os.fspath(out)} is to be written")
    dataset = None
    if data is not None:
        is_spec = isinstance(data, (str, os.PathLike))
        dataset = _igpt.Dataset.open(spec_of(data)) if is_spec else _igpt.Dataset.of_arrays(arrays(data), None, [], None)
    counts = (whole("images", images), whole("probe_images", probe_images))
    html = _igpt.report(names, dataset, *counts, seed_of(seed), f"igpt.report({names!r})")
    if out is not None:
        Path(out).write_text(html, encoding="utf-8")
    return Report(html, None if out is None else Path(out))
