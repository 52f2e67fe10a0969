"""Models: what they are, draw, complete, score and turn into features."""

from __future__ import annotations

from typing import Any

import igpt
import numpy as np
import pytest
from shared import same


def test_a_model_tells_what_it_is(model: igpt.Model) -> None:
    assert model.n_px == (16, 16)
    assert (model.n_vocab, model.n_layer, model.n_embd) == (64, 6, 128)
    assert model.n_embd % model.n_head == 0
    assert len(model.palette) == model.n_vocab
    assert model.palette.colors.shape == (model.n_vocab, 3)
    assert model.classes == []
    assert model.objective == "autoregressive"
    assert model.channels == 3
    assert model.parameters > 1_000_000
    assert "16x16" in repr(model) and "autoregressive" in repr(model)


def test_samples_are_images_of_palette_colours(model: igpt.Model) -> None:
    images = model.sample(3, seed=1)
    assert (images.dtype, images.shape) == (np.uint8, (3, 16, 16, 3))
    colors = {tuple(color) for color in model.palette.colors}
    assert {tuple(pixel) for pixel in images.reshape(-1, 3)} <= colors
    assert len({image.tobytes() for image in images}) == 3


def test_a_seed_draws_the_same_images_again(model: igpt.Model) -> None:
    assert same(model.sample(2, seed=3), model.sample(2, seed=3))
    assert not same(model.sample(2, seed=3), model.sample(2, seed=4))


def test_an_image_of_a_seed_does_not_depend_on_how_many_are_drawn(model: igpt.Model) -> None:
    assert same(model.sample(3, seed=5)[:2], model.sample(2, seed=5))


def test_seeds_have_64_bits(small: igpt.Model) -> None:
    assert not same(small.sample(2, seed=2**64 - 1), small.sample(2, seed=2**32 - 1))


def test_the_likeliest_colour_alone_leaves_nothing_to_chance(model: igpt.Model) -> None:
    assert same(model.sample(1, seed=1, top_k=1), model.sample(1, seed=2, top_k=1))
    assert same(model.sample(1, seed=1, top_k=1), model.sample(1, seed=3, temperature=0.0))
    assert not same(model.sample(1, seed=1, temperature=0.5), model.sample(1, seed=1, temperature=1.0))
    assert not same(model.sample(1, seed=1, top_p=0.5), model.sample(1, seed=1))


def test_no_samples_are_an_empty_array(small: igpt.Model) -> None:
    assert small.sample(0).shape == (0, 8, 8, 3)
    assert small.complete(small.sample(2), n=0).shape == (2, 0, 8, 8, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": -1},
        {"seed": -1},
        {"seed": 2**64},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.5},
    ],
)
def test_sampling_refuses_wrong_values_by_name(small: igpt.Model, wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name.replace("_", "[_-]")):
        small.sample(**wrong)


def test_given_pixels_come_back_as_palette_colours(model: igpt.Model, emoji: np.ndarray) -> None:
    quantized = model.pixels(model.tokens(emoji[:3]))
    for rows in (0, 5, 8, 15):
        found = model.complete(emoji[:3], rows=rows, n=2)
        assert (found.dtype, found.shape) == (np.uint8, (3, 2, 16, 16, 3))
        assert np.array_equal(found[:, :, :rows], np.repeat(quantized[:, None, :rows], 2, axis=1))


def test_half_of_the_rows_are_kept_by_default(model: igpt.Model, emoji: np.ndarray) -> None:
    assert same(model.complete(emoji[:2]), model.complete(emoji[:2], rows=8))


def test_a_mask_says_which_pixels_are_drawn(model: igpt.Model, emoji: np.ndarray) -> None:
    mask = np.zeros((16, 16), bool)
    mask[4:9, 5:12] = True
    quantized = model.pixels(model.tokens(emoji[:2]))
    found = model.complete(emoji[:2], mask=mask, n=2, candidates=4)
    assert np.array_equal(found[:, :, ~mask], np.repeat(quantized[:, None], 2, axis=1)[:, :, ~mask])
    assert not np.array_equal(found[:, :, mask], np.repeat(quantized[:, None], 2, axis=1)[:, :, mask])


def test_a_mask_of_the_lower_rows_is_the_same_as_rows(model: igpt.Model, emoji: np.ndarray) -> None:
    mask = np.arange(16)[:, None].repeat(16, 1) >= 10
    assert same(model.complete(emoji[:2], mask=mask), model.complete(emoji[:2], rows=10))
    assert same(model.complete(emoji[:2], mask=mask.tolist()), model.complete(emoji[:2], rows=10))


def test_completions_of_a_seed_are_the_same_again(model: igpt.Model, emoji: np.ndarray) -> None:
    one = model.complete(emoji[:2], rows=12, n=2, seed=7)
    assert same(one, model.complete(emoji[:2], rows=12, n=2, seed=7))
    assert not same(one, model.complete(emoji[:2], rows=12, n=2, seed=8))
    assert not np.array_equal(one[:, 0], one[:, 1])


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"rows": 16}, "rows=16.*15"),
        ({"rows": -1}, "rows=-1.*0"),
        ({"rows": 3, "mask": np.ones((16, 16), bool)}, "rows and mask"),
        ({"mask": np.ones((8, 8), bool)}, r"mask.*8.*16"),
        ({"mask": np.ones(256, bool)}, r"mask.*256.*16"),
        ({"mask": np.ones((3, 16, 16), bool)}, r"mask.*3.*16"),
        ({"mask": np.zeros((16, 16), bool)}, "nothing|every pixel"),
        ({"n": -1}, "n=-1"),
        ({"candidates": 0, "mask": np.eye(16, dtype=bool)}, "candidates"),
        ({"rounds": 0}, "rounds"),
        ({"seed": -1}, "seed"),
        ({"temperature": -1.0}, "temperature"),
    ],
)
def test_completion_refuses_wrong_values_by_name(
    model: igpt.Model, emoji: np.ndarray, wrong: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=f"(?s){text}"):
        model.complete(emoji[:1], **wrong)


def test_a_mask_of_numbers_is_refused(model: igpt.Model, emoji: np.ndarray) -> None:
    with pytest.raises(TypeError, match="int64.*bool"):
        model.complete(emoji[:1], mask=np.ones((16, 16), int))


def test_log_likelihoods_are_negative_nats(model: igpt.Model, emoji: np.ndarray) -> None:
    nats = model.log_likelihood(emoji)
    assert (nats.dtype, nats.shape) == (np.float64, (12,))
    assert (nats < 0).all()
    chance = -256 * np.log(64)
    assert (nats > chance).all()


def test_a_log_likelihood_is_the_sum_over_pixels(model: igpt.Model, emoji: np.ndarray) -> None:
    pixels = model.log_likelihood(emoji, per_pixel=True)
    assert (pixels.dtype, pixels.shape) == (np.float32, (12, 16, 16))
    assert (pixels <= 0).all()
    np.testing.assert_allclose(pixels.sum((1, 2), dtype=np.float64), model.log_likelihood(emoji), rtol=1e-3)


def test_noise_is_less_likely_than_pictures(model: igpt.Model, emoji: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 256, emoji.shape).astype(np.uint8)
    assert model.log_likelihood(noise).max() < model.log_likelihood(emoji).min()


def test_a_pixel_is_scored_by_those_before_it(model: igpt.Model, emoji: np.ndarray) -> None:
    (image,) = model.pixels(model.tokens(emoji[:1]))
    other = np.where(np.arange(16)[:, None, None] < 8, image, 255 - image)
    one, two = model.log_likelihood(np.stack([image, other]), per_pixel=True)
    assert np.array_equal(one[:8], two[:8])
    assert not np.array_equal(one[8:], two[8:])


def test_an_image_is_scored_by_itself(model: igpt.Model, emoji: np.ndarray) -> None:
    together = model.log_likelihood(emoji)
    alone = np.concatenate([model.log_likelihood(emoji[i : i + 1]) for i in range(len(emoji))])
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_features_are_of_each_layer_and_of_the_input(model: igpt.Model, emoji: np.ndarray) -> None:
    features = model.features(emoji[:5])
    assert (features.dtype, features.shape) == (np.float32, (5, model.n_layer + 1, model.n_embd))
    assert np.isfinite(features).all()
    assert same(features, model.features(emoji[:5], layers="all", pool="mean"))


def test_one_layer_has_no_axis_of_layers(model: igpt.Model, emoji: np.ndarray) -> None:
    features = model.features(emoji[:5])
    for layer in (0, 3, model.n_layer, np.int64(2)):
        assert same(model.features(emoji[:5], layers=layer), np.ascontiguousarray(features[:, layer]))
    assert same(model.features(emoji[:5], layers=[3]), np.ascontiguousarray(features[:, 3:4]))


def test_layers_come_in_the_order_that_is_asked_for(model: igpt.Model, emoji: np.ndarray) -> None:
    features = model.features(emoji[:5])
    assert same(model.features(emoji[:5], layers=[4, 1]), np.ascontiguousarray(features[:, [4, 1]]))
    assert same(model.features(emoji[:5], layers=np.array([1, 2])), np.ascontiguousarray(features[:, 1:3]))


def test_pooling_is_over_the_positions(model: igpt.Model, emoji: np.ndarray) -> None:
    every = model.features(emoji[:2], pool="none")
    assert (every.dtype, every.shape) == (np.float32, (2, model.n_layer + 1, 256, model.n_embd))
    assert model.features(emoji[:2], layers=3, pool="none").shape == (2, 256, model.n_embd)
    np.testing.assert_allclose(model.features(emoji[:2], pool="mean"), every.mean(2), atol=1e-4, rtol=1e-4)
    assert np.array_equal(model.features(emoji[:2], pool="max"), every.max(2))
    assert np.array_equal(model.features(emoji[:2], pool="last"), every[:, :, -1])


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"layers": 7}, "7.*6"),
        ({"layers": -1}, "-1.*6"),
        ({"layers": [0, 9]}, "9.*6"),
        ({"layers": []}, "layers"),
        ({"layers": "some"}, "some.*all"),
        ({"pool": "median"}, "median.*mean"),
    ],
)
def test_features_refuse_wrong_values_by_name(
    model: igpt.Model, emoji: np.ndarray, wrong: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=f"(?s){text}"):
        model.features(emoji[:1], **wrong)


def test_arguments_that_are_no_integers_are_refused_by_name(small: igpt.Model, emoji: np.ndarray) -> None:
    for call, name in (
        (lambda: small.features(emoji[:1], layers=0.5), "layers=0.5"),
        (lambda: small.features(emoji[:1], layers=[0.5]), "layers=0.5"),
        (lambda: small.sample(1.5), "n=1.5"),
        (lambda: small.sample(1, seed="a"), "seed='a'"),
        (lambda: small.complete(emoji[:1], rows=2.0), "rows=2.0"),
    ):
        with pytest.raises(TypeError, match=name):
            call()


def test_tokens_are_numbers_of_palette_colours(model: igpt.Model, emoji: np.ndarray) -> None:
    tokens = model.tokens(emoji)
    assert (tokens.dtype, tokens.shape) == (np.uint16, (12, 16, 16))
    pixels = model.pixels(tokens)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (12, 16, 16, 3))
    assert np.array_equal(pixels, model.palette.colors[tokens])


def test_pixels_of_tokens_have_these_tokens_again(model: igpt.Model, emoji: np.ndarray) -> None:
    tokens = model.tokens(emoji)
    assert same(model.tokens(model.pixels(tokens)), tokens)
    drawn = model.sample(2)
    assert same(model.pixels(model.tokens(drawn)), drawn)


def test_tokens_are_taken_in_rows_and_of_any_integer_type(model: igpt.Model, emoji: np.ndarray) -> None:
    tokens = model.tokens(emoji)
    pixels = model.pixels(tokens)
    assert same(model.pixels(tokens.reshape(12, 256)), pixels)
    assert same(model.pixels(tokens.astype(np.int64)), pixels)
    assert same(model.pixels(tokens.tolist()), pixels)
    assert model.pixels(tokens[:0]).shape == (0, 16, 16, 3)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (np.full((1, 16, 16), 64), "64.*63"),
        (np.full((1, 16, 16), -1), "-1.*0"),
        (np.full((1, 16, 16), 65536), "65536.*63"),
        (np.zeros((1, 8, 8), int), r"\(1, 8, 8\).*16"),
        (np.zeros((1, 8, 32), int), r"\(1, 8, 32\).*16"),
        (np.zeros((1, 255), int), r"\(1, 255\).*16"),
        (np.zeros(256, int), r"\(256,\)"),
        (np.zeros((1, 16, 16)), "float64"),
    ],
)
def test_wrong_tokens_are_refused(model: igpt.Model, tokens: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){text}"):
        model.pixels(tokens)


def test_a_model_of_masked_pixels_completes_but_scores_nothing(masked: igpt.Model, emoji: np.ndarray) -> None:
    assert masked.objective == "masked"
    found = masked.complete(emoji[:2], n=2, rounds=4)
    assert found.shape == (2, 2, 8, 8, 3)
    assert np.array_equal(found[:, 0, :4], masked.pixels(masked.tokens(emoji[:2]))[:, :4])
    assert masked.features(emoji[:2]).shape == (2, 2, 16)
    for call in (lambda: masked.sample(1), lambda: masked.log_likelihood(emoji[:1])):
        with pytest.raises(ValueError, match="masked"):
            call()


def test_what_is_no_classifier_has_no_classes_to_predict(model: igpt.Model, emoji: np.ndarray) -> None:
    for call in (model.predict, model.predict_proba):
        with pytest.raises(igpt.Error, match="classifier"):
            call(emoji[:1])
