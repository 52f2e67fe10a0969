"""The estimators of scikit-learn."""

from __future__ import annotations

import doctest
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import igpt

pytest.importorskip("sklearn", minversion="1.6")

import joblib
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import igpt.sklearn
from igpt.sklearn import OddImageDetector, PixelClassifier, PixelFeatures, _held_out

#: A network that trains in a moment. One thread is quickest for it.
TINY: dict[str, Any] = {"model.n_embd": 16, "model.n_layer": 1, "model.n_head": 2, "train.eval_images": 8}
QUICK: dict[str, Any] = {"steps": 3, "threads": 1, "settings": TINY}
EVALUATION = {"train.eval_images": 8}

#: One of each, for what holds for all.
ALL = [
    PixelFeatures(random_state=0, **QUICK),
    PixelClassifier(random_state=0, **QUICK),
    OddImageDetector(random_state=0, **QUICK),
]
NAMES = [type(estimator).__name__ for estimator in ALL]


@pytest.fixture(autouse=True, scope="module")
def in_memory() -> Iterator[None]:
    """Training writes and syncs temporary files, which takes most of the time here unless they are in memory."""
    with pytest.MonkeyPatch.context() as patch:
        if Path("/dev/shm").is_dir():
            patch.setenv("TMPDIR", "/dev/shm")
        yield


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Digits as rows, float64 (400, 64) from 0 to 16, with their classes."""
    X, y = load_digits(return_X_y=True)
    return X[:400], y[:400]


@pytest.fixture(scope="module")
def pretrained(digits: tuple[np.ndarray, np.ndarray]) -> igpt.Model:
    """A small model of digits."""
    images = np.rint(digits[0][:200].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    settings = {**TINY, "model.n_embd": 32, "model.n_layer": 2}
    return igpt.pretrain(images, steps=60, threads=1, settings=settings, progress=False)


def answers(estimator: Any, X: Any) -> np.ndarray:
    """What an estimator says about images, as numbers."""
    for method in ("transform", "predict_proba", "score_samples"):
        if hasattr(estimator, method):
            found = getattr(estimator, method)(X)
            assert isinstance(found, np.ndarray)
            return found
    raise AssertionError(estimator)


def fitted(estimator: Any, X: Any, y: Any) -> Any:
    """Fit a copy; a detector of few images warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*too few for false_alarms")
        return clone(estimator).fit(X, y)


# A linear probe separates the checks' blobs by features of this width.
@parametrize_with_checks([ALL[0], PixelClassifier(**{**QUICK, "settings": {**TINY, "model.n_embd": 32}}), ALL[2]])
@pytest.mark.filterwarnings("ignore:.*too few for false_alarms", "ignore::sklearn.exceptions.SkipTestWarning")
def test_estimators_follow_the_conventions(estimator: Any, check: Any) -> None:
    check(estimator)


def test_features_of_digits_tell_them_apart(digits: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = digits
    network = {"model.n_embd": 64, "model.n_layer": 2, "model.n_head": 2}
    features = PixelFeatures(image_shape=(8, 8), steps=40, random_state=0, threads=1, settings=network)
    pipeline = make_pipeline(features, StandardScaler(), LogisticRegression(max_iter=1000)).fit(X[:300], y[:300])
    assert pipeline.score(X[300:], y[300:]) > 0.4  # Chance is 0.1.


def test_emoji_are_taken_as_they_are() -> None:
    images, labels, classes = igpt.data.load("emoji", "train")
    assert isinstance(images, np.ndarray)
    two = [classes.index("Flags"), classes.index("People & Body")]
    chosen = np.concatenate([np.flatnonzero(labels == label)[:100] for label in two])
    images, y = images[chosen], labels[chosen]
    features = PixelFeatures(n_px=8, colors=16, random_state=0, **QUICK)
    pipeline = make_pipeline(features, StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    assert cross_val_score(pipeline, images, y, cv=folds).mean() > 0.7  # Chance is 0.5.
    assert features.fit(images).image_shape_ == (32, 32, 3)
    assert features.model_.n_px == (8, 8)


def test_the_layer_is_found_by_a_grid_search(pretrained: igpt.Model, digits: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = digits
    pipeline = make_pipeline(
        PixelFeatures(image_shape=(8, 8), model=pretrained), StandardScaler(), LogisticRegression(max_iter=1000)
    )
    search = GridSearchCV(pipeline, {"pixelfeatures__layer": [0, 2, "middle", "auto"]}, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.4
    assert search.predict(X[:5]).shape == (5,)


def test_a_grid_search_pretrains(digits: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = digits
    pipeline = make_pipeline(PixelFeatures(random_state=0, **QUICK), LogisticRegression(max_iter=1000))
    search = GridSearchCV(pipeline, {"pixelfeatures__layer": [0, 1]}, cv=2).fit(X[:60], y[:60] % 2)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_models_travel_to_other_processes(pretrained: igpt.Model, digits: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = digits[0][:60], digits[1][:60] % 2
    classifier = PixelClassifier(image_shape=(8, 8), model=pretrained, threads=1, random_state=0)
    there = cross_val_score(classifier, X, y, cv=2, n_jobs=2)
    assert np.array_equal(there, cross_val_score(classifier, X, y, cv=2))


@pytest.mark.parametrize("estimator", ALL, ids=NAMES)
def test_round_trips_change_nothing(
    estimator: Any, digits: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    X, y = digits[0][:40], digits[1][:40] % 2
    estimator = fitted(estimator, X, y)
    expected = answers(estimator, X)
    joblib.dump(estimator, tmp_path / "estimator.joblib")
    for again in (pickle.loads(pickle.dumps(estimator)), joblib.load(tmp_path / "estimator.joblib")):
        assert np.array_equal(answers(again, X), expected)
        if isinstance(estimator, OddImageDetector):
            assert np.array_equal(again.predict(X), estimator.predict(X))
            assert again.offset_ == estimator.offset_
    assert np.array_equal(answers(fitted(estimator, X, y), X), expected)


@pytest.mark.parametrize("estimator", ALL, ids=NAMES)
def test_a_seed_gives_the_same_results(estimator: Any, digits: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = digits[0][:40], digits[1][:40] % 2

    def of(random_state: Any) -> np.ndarray:
        return answers(fitted(clone(estimator).set_params(random_state=random_state), X, y), X)

    assert np.array_equal(of(np.int64(5)), of(5))
    assert not np.array_equal(of(6), of(5))
    assert np.array_equal(of(np.random.RandomState(5)), of(np.random.RandomState(5)))


@pytest.mark.parametrize("estimator", ALL, ids=NAMES)
def test_nothing_is_answered_before_fit(estimator: Any, digits: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(NotFittedError):
        answers(clone(estimator), digits[0])


@pytest.mark.parametrize("estimator", ALL, ids=NAMES)
def test_a_given_model_is_not_trained_again(
    estimator: Any,
    pretrained: igpt.Model,
    digits: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("pretrained again")

    monkeypatch.setattr(igpt.sklearn, "pretrain", refuse)
    X, y = digits[0][:100], digits[1][:100] % 2
    given = clone(estimator).set_params(image_shape=(8, 8), model=pretrained)
    given.fit(X, y)
    if isinstance(given, PixelFeatures):
        assert given.model_ is pretrained
        images = np.rint(X.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        assert np.array_equal(given.transform(X), pretrained.features(images, 1))
    pretrained.save(tmp_path / "model")
    path = clone(estimator).set_params(image_shape=(8, 8), model=tmp_path / "model")
    assert np.array_equal(answers(path.fit(X, y), X), answers(given, X))
    # The model itself is as it was.
    assert pretrained.classes == []
    with pytest.raises(igpt.Error, match="fit_inspection"):
        pretrained.inspect(images=np.zeros((1, 8, 8), np.uint8))


def test_the_detector_is_that_of_the_model(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images = np.rint(digits[0].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    good, new = images[:100], images[100:200]
    detector = OddImageDetector(random_state=3, **QUICK).fit(good)
    learned, held = ([good[i] for i in part] for part in _held_out(len(good), 0.2))
    model = igpt.pretrain(learned, validation=held[::2], seed=3, progress=False, **QUICK).fit_inspection(learned, held)
    found = model.inspect(new)
    assert np.array_equal(detector.score_samples(new), -found.scores)
    assert detector.offset_ == -found.threshold
    assert detector.false_alarms_ == 0.05
    assert np.array_equal(detector.predict(new) == -1, found.odd)
    assert np.array_equal(detector.decision_function(new) < 0, found.odd)
    lax = OddImageDetector(random_state=3, false_alarms=0.5, **QUICK).fit(good)
    assert lax.offset_ == -model.inspect(new, 0.5).threshold


@pytest.mark.parametrize(("count", "rate", "promised"), [(100, 0.01, 1 / 21), (40, 0.05, 1 / 9), (40, 0.5, 0.5), (2, 0.05, 0.5)])
def test_few_good_images_make_no_empty_promise(
    pretrained: igpt.Model, digits: tuple[np.ndarray, np.ndarray], count: int, rate: float, promised: float
) -> None:
    detector = OddImageDetector(image_shape=(8, 8), model=pretrained, false_alarms=rate)
    good = digits[0][:count]
    if promised > rate:
        with pytest.warns(UserWarning, match=f"{count} good images are too few for false_alarms={rate}"):
            detector.fit(good)
    else:
        detector.fit(good)
    assert detector.false_alarms_ == pytest.approx(promised)
    if count == 40:
        # Eight are held out. For a rate of 1/9 the threshold is their highest score, for 1/2 their fifth (of the 8, four odd).
        _, held = _held_out(count, 0.2)
        assert len(held) == 8
        scores = np.sort(detector.score_samples(good[held]))
        assert detector.offset_ == scores[0 if rate == 0.05 else 3]


def test_noise_is_odd(digits: tuple[np.ndarray, np.ndarray]) -> None:
    detector = OddImageDetector(image_shape=(8, 8), random_state=0, **{**QUICK, "steps": 30}).fit(digits[0][:200])
    noise = np.random.default_rng(0).uniform(0, 16, (50, 64))
    assert (detector.predict(noise) == -1).mean() > 0.9
    assert (detector.predict(digits[0][200:]) == -1).mean() < 0.3


@pytest.mark.parametrize("head", ["fine-tuned", "auto"])
def test_heads(head: Any, digits: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = digits[0][:80], np.array(["even", "odd"])[digits[1][:80] % 2]
    classifier = PixelClassifier(
        image_shape=(8, 8), head=head, finetune_steps=5, finetune_settings=EVALUATION, random_state=0, **QUICK
    ).fit(X, y)
    assert classifier.classes_.tolist() == classifier.model_.classes == ["even", "odd"]
    probabilities = classifier.predict_proba(X)
    assert probabilities.shape == (80, 2)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(classifier.predict(X), classifier.classes_[probabilities.argmax(axis=1)])
    assert np.array_equal(fitted(classifier, X, y).predict_proba(X), probabilities)


def test_layers(pretrained: igpt.Model, digits: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = digits[0][:100], digits[1][:100]

    def of(layer: Any, target: Any = None) -> PixelFeatures:
        return PixelFeatures(image_shape=(8, 8), model=pretrained, layer=layer).fit(X, target)

    assert [of(layer).layer_ for layer in (0, np.int64(2), "middle", "auto")] == [0, 2, 1, 1]
    assert not hasattr(of("middle", y), "layer_scores_")
    for target in (y, y.astype(str), X.mean(axis=1), np.stack([X.mean(axis=1), X.std(axis=1)], axis=1)):
        chosen = of("auto", target)
        assert chosen.layer_scores_.shape == (3,)
        assert chosen.layer_scores_[chosen.layer_] == chosen.layer_scores_.max()
        assert of("auto", target).layer_ == chosen.layer_
    # Nothing to compare by: one class, too few images.
    assert of("auto", np.zeros(100)).layer_ == 1
    assert PixelFeatures(image_shape=(8, 8), model=pretrained, layer="auto").fit(X[:3], y[:3]).layer_ == 1
    assert of(0).get_feature_names_out()[:2].tolist() == ["pixelfeatures0", "pixelfeatures1"]
    for wrong in (3, -1, 1.5, "last", None):
        with pytest.raises(ValueError, match="layer=.*0 to 2"):
            of(wrong)
    with pytest.raises(ValueError, match="inconsistent"):
        of("auto", y[:-1])


def test_all_forms_of_images_are_the_same_images(pretrained: igpt.Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3)).astype(np.uint8)
    expected = pretrained.features(images, 1)
    features = PixelFeatures(model=pretrained)
    unit = images / 255
    forms: list[Any] = [images, list(images), unit, unit.astype(np.float32), list(unit), unit.tolist()]
    held = np.empty(30, object)
    held[:] = list(images)
    forms.append(held)
    for form in forms:
        assert np.array_equal(features.fit(form).transform(form), expected)
        assert (features.n_features_in_, features.image_shape_) == (192, (8, 8, 3))
        assert np.array_equal(features.transform(form[:3]), expected[:3])
        # Rows and images may change places.
        assert np.array_equal(features.transform(images.reshape(30, -1)), expected)
    rows = PixelFeatures(model=pretrained, image_shape=(8, 8, 3))
    for flat in (images.reshape(30, -1), unit.reshape(30, -1), images.reshape(30, -1).tolist()):
        assert np.array_equal(rows.fit(flat).transform(flat), expected)
    grey = PixelFeatures(model=pretrained, image_shape=[8, 8])
    assert np.array_equal(grey.fit(images[..., 0]).transform(images[..., :1]), pretrained.features(images[..., 0], 1))


def test_images_of_files_and_of_several_sizes_are_taken(pretrained: igpt.Model, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    arrays = [np.random.default_rng(i).integers(0, 256, (16, 16 + i, 3)).astype(np.uint8) for i in range(4)]
    expected = pretrained.features(arrays, 1)
    pictures = [image.fromarray(pixels) for pixels in arrays]
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    features = PixelFeatures(model=pretrained)
    for form in (arrays, pictures, paths):
        assert np.array_equal(features.fit(form).transform(form), expected)
        assert features.image_shape_ is None
        assert not hasattr(features, "n_features_in_")
    with pytest.raises(ValueError, match="several sizes"):
        features.transform(np.zeros((2, 64)))
    assert features.fit(pictures[:1]).n_features_in_ == 16 * 16 * 3


def test_rows_without_a_shape_are_nearly_square_and_scaled(pretrained: igpt.Model) -> None:
    X = np.random.default_rng(0).normal(size=(30, 64))
    features = PixelFeatures(model=pretrained).fit(X)
    low, high = features.value_range_
    assert (low, high) == (X.min(), X.max())
    assert features.image_shape_ == (8, 8, 1)
    images = np.rint((X - low) / (high - low) * 255).astype(np.uint8).reshape(-1, 8, 8)
    assert np.array_equal(features.transform(X), pretrained.features(images, 1))
    # Values beyond those of fit are clipped.
    assert np.array_equal(features.transform(X * 3), features.transform(np.clip(X * 3, low, high)))
    # Five values are two rows of three, enlarged to 8×9 pixels, the sixth black.
    few = features.fit(X[:, :5])
    low, high = few.value_range_
    assert few.image_shape_ == (2, 3, 1)
    padded = np.zeros((30, 6), np.uint8)
    padded[:, :5] = np.rint((X[:, :5] - low) / (high - low) * 255)
    images = padded.reshape(-1, 2, 3).repeat(4, axis=1).repeat(3, axis=2)
    assert images.shape == (30, 8, 9)
    assert np.array_equal(few.transform(X[:, :5]), pretrained.features(images, 1))


def test_values_in_the_unit_interval_are_clipped_to_it_later(pretrained: igpt.Model) -> None:
    X = np.random.default_rng(0).uniform(size=(30, 64)) * 0.5
    features = PixelFeatures(model=pretrained, image_shape=(8, 8)).fit(X)
    assert features.value_range_ == (0, 1)
    assert np.array_equal(features.transform(X * 3), features.transform(np.minimum(X * 3, 1)))
    assert np.array_equal(features.transform(X), pretrained.features(X.reshape(-1, 8, 8), 1))


def test_few_colours_make_a_small_palette(digits: tuple[np.ndarray, np.ndarray]) -> None:
    X = np.where(digits[0][:40] > 8, 255, 0).astype(np.uint8)
    assert PixelFeatures(image_shape=(8, 8), colors=7, random_state=0, **QUICK).fit(X).model_.n_vocab == 2
    assert PixelFeatures(image_shape=(8, 8), colors=7, random_state=0, **QUICK).fit(digits[0]).model_.n_vocab == 7
    with pytest.raises(ValueError, match="all values of X are the same"):
        PixelFeatures(**QUICK).fit(np.ones((20, 64)))


def test_wrong_shapes_are_named(pretrained: igpt.Model) -> None:
    def fit(X: Any, **parameters: Any) -> PixelFeatures:
        return PixelFeatures(model=pretrained, **parameters).fit(X)

    rows, images = np.zeros((4, 64)), np.zeros((4, 8, 8))
    with pytest.raises(ValueError, match=r"\(8, 9, 1\) have 72 values, but X has 64"):
        fit(rows, image_shape=(8, 9))
    with pytest.raises(ValueError, match=r"shape \(8, 8, 1\), but image_shape is \(8, 9, 1\)"):
        fit(images, image_shape=(8, 9))
    for wrong in (8, (8,), (8, 8, 2), (8, -8), (8.0, 8.0), "8x8", (1, 8, 8, 1)):
        with pytest.raises(ValueError, match="image_shape=.*wanted"):
            fit(rows, image_shape=wrong)
    with pytest.raises(ValueError, match="channels come last"):
        fit(np.zeros((4, 3, 8, 8)))
    with pytest.raises(ValueError, match="one image"):
        fit(np.zeros((8, 8, 3)))
    with pytest.raises(ValueError, match="1D array"):
        fit(np.zeros(64))
    with pytest.raises(ValueError, match="NaN"):
        fit(np.full((4, 8, 8), np.nan))
    with pytest.raises(ValueError, match="0 sample"):
        fit(images[:0])
    with pytest.raises(ValueError, match=r"shape \(9, 8, 1\), but fit saw \(8, 8, 1\)"):
        fit(images).transform(np.zeros((4, 9, 8)))
    with pytest.raises(ValueError, match="63 features, but PixelFeatures is expecting 64"):
        fit(images).transform(rows[:, 1:])
    with pytest.raises(ValueError, match="floats from 0 to 7"):
        fit(images.astype(np.uint8)).transform(images + 7 * np.eye(8))


def test_wrong_parameters_and_targets_are_named(digits: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = digits[0][:20], digits[1][:20]
    with pytest.raises(ValueError, match="head='best'"):
        PixelClassifier(**QUICK).set_params(head="best").fit(X, y)
    with pytest.raises(ValueError, match="one class"):
        PixelClassifier(**QUICK).fit(X, np.zeros(20))
    wrong: Any
    for wrong in (0, 1, -0.1, "few", np.nan):
        with pytest.raises(ValueError, match="false_alarms=.*between 0 and 1"):
            OddImageDetector(false_alarms=wrong, **QUICK).fit(X)
    with pytest.raises(ValueError, match="one of steps="):
        PixelFeatures(epochs=1, **QUICK).fit(X)
    with pytest.raises(FileNotFoundError):
        PixelFeatures(model="nowhere").fit(X)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9, 10, 50, 94, 95, 333])
def test_images_are_trained_on_or_held_out_and_each_class_is_trained_on(count: int) -> None:
    for classes in {1, 2, 3, count}:
        labels = np.sort(np.arange(count) % classes)
        train, held = _held_out(count, 0.1, labels)
        assert set(train) | set(held) == set(range(count))
        assert set(labels[train]) == set(labels)
        if count >= 9 and classes < count:
            assert not set(train) & set(held)
            assert 1 <= len(held) <= max(1, round(count / 10))
        else:
            assert train == held == list(range(count))
    train, held = _held_out(count, 0.2)
    assert len(held) == (round(count / 5) if count > 4 else count)


def test_examples_run() -> None:
    found = doctest.testmod(igpt.sklearn)
    assert found.failed == 0
    assert found.attempted >= 15


def test_the_package_does_not_import_scikit_learn() -> None:
    code = "import igpt, sys; assert not any(name.split('.')[0] == 'sklearn' for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
