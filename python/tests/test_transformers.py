"""Claims about docs/transformers.md: its lines run, and give what igpt gives. Needs torch and transformers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import igpt

PAGE = Path(__file__).parents[2] / "docs" / "transformers.md"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the page's lines leave behind."""
    for needed in ("torch", "transformers", "PIL"):
        pytest.importorskip(needed)
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
            exec(block, names)
    return names


def test_log_likelihoods_and_features_are_those_of_igpt(ran: dict[str, Any]) -> None:
    model = igpt.load()
    np.testing.assert_allclose(ran["log_likelihood"], model.log_likelihood(ran["images"]), rtol=1e-4)
    for layer in range(model.n_layer + 1):
        found = ran["features"](layer).detach().numpy()
        np.testing.assert_allclose(found, model.features(ran["images"], layer), rtol=1e-3, atol=1e-4)


def test_samples_are_images(ran: dict[str, Any]) -> None:
    assert ran["samples"].shape == (4, 16, 16, 3)
    assert ran["drawn"].shape == (8, 256)


def test_a_model_that_transformers_saved_is_the_same_model(ran: dict[str, Any]) -> None:
    theirs = ran["ours"].log_likelihood(ran["images"])
    np.testing.assert_allclose(theirs, igpt.load().log_likelihood(ran["images"]), rtol=1e-6)


def test_classes_have_the_same_probabilities(ran: dict[str, Any]) -> None:
    ours = ran["classifier"].predict_proba(ran["images"])
    np.testing.assert_allclose(ran["probabilities"], ours, rtol=1e-3, atol=1e-5)
