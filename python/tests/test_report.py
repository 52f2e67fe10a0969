"""The report."""

from __future__ import annotations

from pathlib import Path

import igpt
import numpy as np
import pytest
from shared import QUICK


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a data set that has a name."""
    out = tmp_path_factory.mktemp("runs") / "small"
    igpt.pretrain("emoji", out, steps=3, **QUICK)
    return out


def test_a_report_is_a_page_of_its_own(run: Path, tmp_path: Path) -> None:
    report = igpt.report(run, tmp_path / "report.html", images=8, probe_images=0)
    assert report.path == tmp_path / "report.html"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page == report.html
    assert page.lower().startswith("<!doctype html>")
    assert "small" in page
    assert "report.html" in repr(report)


def test_a_report_is_shown_inline(run: Path) -> None:
    report = igpt.report([str(run)], images=8, probe_images=0)
    shown = report._repr_html_()
    assert shown.startswith("<iframe srcdoc=") and shown.endswith("</iframe>")
    assert "&lt;" in shown and shown.count("<") == 2
    assert report.path is None


def test_a_report_says_which_call_made_it(run: Path) -> None:
    assert "igpt.report(" in igpt.report(run, images=8, probe_images=0).html


def test_a_report_is_made_of_a_run_on_arrays(many: np.ndarray, tmp_path: Path) -> None:
    igpt.pretrain(many, tmp_path / "run", steps=2, **QUICK)
    with pytest.raises(ValueError, match="images in memory.*give them"):
        igpt.report(tmp_path / "run", images=8, probe_images=0)
    assert igpt.report(tmp_path / "run", data=many, images=8, probe_images=0).html


def test_runs_that_are_not_there_are_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        igpt.report(tmp_path / "nothing")
    with pytest.raises(ValueError, match="runs"):
        igpt.report([])


def test_a_report_is_not_made_for_a_place_that_cannot_be_written(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        igpt.report(run, tmp_path / "nothing" / "report.html", images=8, probe_images=0)
