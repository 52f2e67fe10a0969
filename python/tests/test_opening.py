"""Models on disk, in pickles and on devices."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import igpt
import numpy as np
import pytest
from shared import same


def test_a_saved_model_gives_identical_results(model: igpt.Model, emoji: np.ndarray, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = igpt.load(tmp_path / "model")
    assert same(model.log_likelihood(emoji), again.log_likelihood(emoji))
    assert same(model.features(emoji[:2]), again.features(emoji[:2]))
    assert same(model.sample(2), again.sample(2))
    assert repr(again) == repr(model)


def test_a_model_is_saved_as_transformers_reads_it(model: igpt.Model, tmp_path: Path) -> None:
    model.save(str(tmp_path / "model"))
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= names


def test_a_run_and_its_model_directory_are_the_same_model(run: Path, emoji: np.ndarray) -> None:
    assert same(igpt.load(run).log_likelihood(emoji), igpt.load(str(run / "model")).log_likelihood(emoji))


def test_a_pickled_model_gives_identical_results(small: igpt.Model, emoji: np.ndarray) -> None:
    again = pickle.loads(pickle.dumps(small))
    assert same(small.log_likelihood(emoji), again.log_likelihood(emoji))
    assert same(small.sample(2), again.sample(2))


def test_pickles_of_one_model_are_identical(small: igpt.Model) -> None:
    assert pickle.dumps(small) == pickle.dumps(small)
    assert pickle.dumps(pickle.loads(pickle.dumps(small))) == pickle.dumps(small)


def test_a_copy_is_a_model_of_its_own(small: igpt.Model, emoji: np.ndarray) -> None:
    for again in (copy.copy(small), copy.deepcopy(small), copy.deepcopy([small])[0]):
        assert again is not small
        assert same(small.log_likelihood(emoji), again.log_likelihood(emoji))


def test_a_pickled_classifier_keeps_its_classes(classifier: igpt.Model, emoji: np.ndarray) -> None:
    again = pickle.loads(pickle.dumps(classifier))
    assert again.classes == classifier.classes
    assert same(classifier.predict_proba(emoji), again.predict_proba(emoji))


def test_a_saved_classifier_keeps_its_classes(classifier: igpt.Model, emoji: np.ndarray, tmp_path: Path) -> None:
    classifier.save(tmp_path / "model")
    again = igpt.load(tmp_path / "model")
    assert again.classes == classifier.classes
    assert same(classifier.predict_proba(emoji), again.predict_proba(emoji))


def test_a_pickled_palette_is_the_same_palette(model: igpt.Model, emoji: np.ndarray) -> None:
    for again in (pickle.loads(pickle.dumps(model.palette)), copy.deepcopy(model.palette)):
        assert same(again.colors, model.palette.colors)
        assert same(again.quantize(emoji), model.palette.quantize(emoji))


def test_several_models_live_in_one_process(model: igpt.Model, small: igpt.Model, emoji: np.ndarray) -> None:
    one, other = model.log_likelihood(emoji[:2]), small.log_likelihood(emoji[:2])
    assert same(igpt.load().log_likelihood(emoji[:2]), one)
    assert same(small.log_likelihood(emoji[:2]), other)
    assert not np.array_equal(one, other)


def test_the_number_of_threads_changes_no_result(emoji: np.ndarray, model: igpt.Model) -> None:
    alone = igpt.load(threads=1)
    assert same(alone.log_likelihood(emoji), model.log_likelihood(emoji))
    assert same(alone.features(emoji[:2]), model.features(emoji[:2]))


def test_half_precision_is_near_full_precision(emoji: np.ndarray, model: igpt.Model) -> None:
    half = igpt.load(precision="bf16")
    np.testing.assert_allclose(half.log_likelihood(emoji), model.log_likelihood(emoji), rtol=0.05)
    assert same(igpt.load(device="cpu", precision="f32").log_likelihood(emoji), model.log_likelihood(emoji))


def test_a_model_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", str(tmp_path / "nothing")):
        with pytest.raises(FileNotFoundError, match="nothing"):
            igpt.load(path)


def test_a_name_of_the_hub_gets_a_clear_error() -> None:
    with pytest.raises((FileNotFoundError, ValueError), match="(?s)openai/imagegpt-small.*(hub|[Hh]ugging ?[Ff]ace)"):
        igpt.load("openai/imagegpt-small")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises((FileNotFoundError, ValueError), match="(?s)model|run"):
        igpt.load(tmp_path)


def test_damaged_files_are_named(small: igpt.Model, tmp_path: Path) -> None:
    small.save(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json"):
        igpt.load(tmp_path / "model")
    small.save(tmp_path / "other")
    weights = tmp_path / "other" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match="model.safetensors"):
        igpt.load(tmp_path / "other")


def test_unknown_devices_and_precisions_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="tpu"):
        igpt.load(device="tpu")
    with pytest.raises(ValueError, match="f16.*f32"):
        igpt.load(precision="f16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threads"):
        igpt.load(threads=-1)


def test_a_device_that_is_not_here_is_named() -> None:
    with pytest.raises((ValueError, igpt.Error), match="cuda:99"):
        igpt.load(device="cuda:99")


def test_a_model_cannot_be_saved_below_a_file(small: igpt.Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        small.save(tmp_path / "file" / "model")


def test_the_error_of_the_package_is_an_exception_of_its_own() -> None:
    assert issubclass(igpt.Error, Exception)
    assert not issubclass(igpt.Error, (ValueError, OSError))
    assert igpt.Error.__module__ == "igpt"
