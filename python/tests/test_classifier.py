"""Fine-tuning, and what classifiers predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import igpt
import numpy as np
import pytest
from shared import same

QUICK: dict[str, Any] = {"batch": 4, "progress": False, "settings": {"train.eval_images": 8}}


def test_a_classifier_gives_each_image_a_class_and_its_probability(classifier: igpt.Model, emoji: np.ndarray) -> None:
    probabilities = classifier.predict_proba(emoji)
    assert (probabilities.dtype, probabilities.shape) == (np.float64, (12, 2))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert (probabilities >= 0).all()
    classes = classifier.predict(emoji)
    assert (classes.dtype, classes.shape) == (np.int64, (12,))
    assert np.array_equal(classes, probabilities.argmax(1))


def test_labels_that_are_numbers_are_the_names_of_classes(classifier: igpt.Model) -> None:
    assert classifier.classes == ["0", "1"]


def test_labels_that_are_texts_name_the_classes(small: igpt.Model, many: np.ndarray, labels: np.ndarray) -> None:
    names = np.where(labels == 1, "bright", "shadow")
    for given in (names, names.tolist(), names.astype(object)):
        model = igpt.finetune(small, many, given, steps=2, **QUICK)
        assert model.classes == ["bright", "shadow"]


def test_classes_are_learned(small: igpt.Model, many: np.ndarray, labels: np.ndarray) -> None:
    names = np.where(labels == 1, "bright", "shadow")
    model = igpt.finetune(small, many, names, head="linear", **QUICK)
    predicted = np.array(model.classes)[model.predict(many)]
    assert (predicted == names).mean() > 0.8


def test_names_and_positions_of_classes_train_the_same_classifier(
    small: igpt.Model, many: np.ndarray, labels: np.ndarray
) -> None:
    names = np.where(labels == 1, "bright", "shadow")
    given = (names, labels)
    one, two = (igpt.finetune(small, many, of, classes=["shadow", "bright"], steps=2, **QUICK) for of in given)
    assert same(one.predict_proba(many[:4]), two.predict_proba(many[:4]))


def test_names_of_classes_may_be_given_with_positions(small: igpt.Model, many: np.ndarray, labels: np.ndarray) -> None:
    model = igpt.finetune(small, many, labels, classes=["shadow", "bright"], head="linear", **QUICK)
    assert model.classes == ["shadow", "bright"]
    assert (model.predict(many) == labels).mean() > 0.8


def test_texts_keep_their_meaning_where_classes_are_given_in_another_order(
    small: igpt.Model, many: np.ndarray, labels: np.ndarray
) -> None:
    names = np.where(labels == 1, "bright", "shadow")
    model = igpt.finetune(small, many, names, classes=["shadow", "bright"], head="linear", **QUICK)
    assert model.classes == ["shadow", "bright"]
    assert (model.predict(many) == labels).mean() > 0.8


def test_a_linear_head_leaves_the_network_as_it_was(small: igpt.Model, many: np.ndarray, labels: np.ndarray) -> None:
    linear = igpt.finetune(small, many, labels, head="linear", **QUICK)
    tuned = igpt.finetune(small, many, labels, steps=4, **QUICK)
    assert same(linear.features(many[:4]), small.features(many[:4]))
    assert not same(tuned.features(many[:4]), small.features(many[:4]))


def test_a_data_set_with_labels_is_taken_by_its_name(small: igpt.Model) -> None:
    model = igpt.finetune(small, "emoji", steps=2, labels_per_class=4, **QUICK)
    assert model.classes == igpt.data.load("emoji", "test").classes
    assert model.predict_proba(igpt.data.load("emoji", "test").images[:3]).shape == (3, 10)


def test_the_pretrained_model_may_be_a_path(run: Path, many: np.ndarray, labels: np.ndarray) -> None:
    for path in (run, str(run)):
        assert igpt.finetune(path, many, labels, steps=1, **QUICK).classes == ["0", "1"]


def test_the_pretrained_model_stays_as_it_was(small: igpt.Model, many: np.ndarray, labels: np.ndarray) -> None:
    before = small.log_likelihood(many[:4])
    igpt.finetune(small, many, labels, steps=2, **QUICK)
    assert same(small.log_likelihood(many[:4]), before)
    assert small.classes == []


def test_a_seed_trains_the_same_classifier_again(small: igpt.Model, many: np.ndarray, labels: np.ndarray) -> None:
    one, two = (igpt.finetune(small, many, labels, steps=3, seed=1, **QUICK) for _ in range(2))
    assert same(one.predict_proba(many[:4]), two.predict_proba(many[:4]))


def test_a_callback_hears_of_classes_and_may_use_the_pretrained_model(
    small: igpt.Model, many: np.ndarray, labels: np.ndarray
) -> None:
    events: list[dict[str, Any]] = []

    def callback(event: dict[str, Any]) -> None:
        events.append(event)
        small.log_likelihood(many[:1])

    igpt.finetune(small, many, labels, steps=3, callback=callback, **QUICK)
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2, 3]
    assert all(event["class_loss"] > 0 for event in events if event["event"] == "step")
    assert 0 <= [event["accuracy"] for event in events if event["event"] == "validation"][-1] <= 1


def test_progress_is_shown_of_every_kind_of_head(small: igpt.Model, many: np.ndarray, labels: np.ndarray) -> None:
    shown = {**QUICK, "progress": True}
    igpt.finetune(small, many, labels, steps=2, **shown)
    igpt.finetune(small, many, labels, head="linear", **shown)
    settings = {"train.eval_images": 8, "finetune.generative_weight": 0.0}
    igpt.finetune(small, many, labels, steps=2, **{**shown, "settings": settings})


def test_a_classifier_is_kept_in_its_run(
    small: igpt.Model, many: np.ndarray, labels: np.ndarray, emoji: np.ndarray, tmp_path: Path
) -> None:
    model = igpt.finetune(small, many, labels, tmp_path / "run", steps=2, **QUICK)
    again = igpt.load(tmp_path / "run")
    assert again.classes == model.classes
    assert same(again.predict_proba(emoji), model.predict_proba(emoji))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"labels": np.zeros(79, int)}, r"79.*80"),
        ({"labels": np.zeros((80, 1), int)}, r"80, 1.*80"),
        ({"labels": np.full(80, -1), "classes": ["a", "b"]}, "-1.*2"),
        ({"labels": np.full(80, 2), "classes": ["a", "b"]}, "2.*2 classes"),
        ({"labels": ["a", "b"] * 40, "classes": ["a", "c"]}, "called b.*a, c"),
        ({"labels": None}, "no labels"),
        ({"head": "round"}, "round.*linear"),
        ({"steps": 1, "epochs": 1}, "(?s)steps.*epochs"),
        ({"steps": -1}, "steps"),
    ],
)
def test_wrong_labels_and_settings_are_refused_by_name(
    small: igpt.Model, many: np.ndarray, labels: np.ndarray, wrong: dict[str, Any], text: str
) -> None:
    arguments = {"labels": labels, **QUICK, **wrong}
    with pytest.raises(ValueError, match=text):
        igpt.finetune(small, many, **arguments)


def test_labels_that_are_no_number_are_refused(small: igpt.Model, many: np.ndarray) -> None:
    labels = np.where(np.arange(80) < 40, 0.0, np.nan)
    with pytest.raises(ValueError, match="(?i)nan"):
        igpt.finetune(small, many, labels, steps=1, **QUICK)
