"""What is taken as images, and what is said of anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import igpt
import numpy as np
import pytest
from shared import same


def read(exact: Any, images: Any) -> np.ndarray:
    """The pixels that the package sees in `images`, uint8 (N, H, W, 3)."""
    palette, _ = exact
    return palette.colors[palette.quantize(images)]


@pytest.fixture(scope="module")
def pillow() -> Any:
    return pytest.importorskip("PIL.Image")


@pytest.fixture
def grey(exact: Any) -> np.ndarray:
    """Images in four levels of grey, uint8 (5, 8, 8)."""
    return np.ascontiguousarray(exact[1][..., 0])


def test_bytes_with_channels_are_taken_as_they_are(exact: Any) -> None:
    assert np.array_equal(read(exact, exact[1]), exact[1])


def test_arrays_without_channels_are_grey(exact: Any, grey: np.ndarray) -> None:
    expected = np.repeat(grey[..., None], 3, axis=3)
    assert np.array_equal(read(exact, grey), expected)
    assert np.array_equal(read(exact, grey[..., None]), expected)


def test_channels_come_first_where_that_is_told(exact: Any) -> None:
    first = np.moveaxis(exact[1], 3, 1)
    assert np.array_equal(read(exact, igpt.images(first, channels_first=True)), exact[1])
    assert np.array_equal(read(exact, igpt.images(list(first), channels_first=True)), exact[1])
    assert np.array_equal(igpt.images(first[:, :1], channels_first=True), exact[1][..., :1])


def test_images_are_brought_into_one_form(exact: Any, grey: np.ndarray) -> None:
    found = igpt.images([exact[1][0], grey[1], exact[1][2, :5] / 255])
    assert [(image.dtype, image.shape) for image in found] == [
        (np.uint8, (8, 8, 3)), (np.uint8, (8, 8, 1)), (np.uint8, (5, 8, 3)),
    ]  # fmt: skip
    assert all(image.flags.c_contiguous for image in found)
    assert np.array_equal(igpt.images(found[:1]), exact[1][:1])


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_from_0_to_1_are_bytes_over_255(exact: Any, kind: Any) -> None:
    assert np.array_equal(read(exact, (exact[1] / 255).astype(kind)), exact[1])


def test_truth_values_are_black_and_white(exact: Any, grey: np.ndarray) -> None:
    assert np.array_equal(read(exact, grey > 100)[..., 0], np.where(grey > 100, 255, 0))


def test_arrays_of_any_layout_in_memory_are_taken(exact: Any) -> None:
    images = exact[1]
    spread = np.zeros((10, 8, 16, 3), np.uint8)
    spread[::2, :, ::2] = images
    assert np.array_equal(read(exact, spread[::2, :, ::2]), images)
    assert np.array_equal(read(exact, np.asfortranarray(images)), images)
    assert np.array_equal(read(exact, images[:, ::-1]), images[:, ::-1])
    still = images.copy()
    still.setflags(write=False)
    assert np.array_equal(read(exact, still), images)


def test_given_arrays_stay_as_they_are(model: igpt.Model, emoji: np.ndarray) -> None:
    before = emoji.copy()
    model.complete(emoji[:2])
    model.features(emoji[:2])
    assert np.array_equal(emoji, before)


def test_lists_tuples_and_generators_of_arrays_are_taken(exact: Any) -> None:
    images = exact[1]
    assert np.array_equal(read(exact, list(images)), images)
    assert np.array_equal(read(exact, tuple(images)), images)
    assert np.array_equal(read(exact, (image for image in images)), images)


def test_images_of_several_sizes_are_taken_as_a_list(exact: Any, model: igpt.Model, emoji: np.ndarray) -> None:
    palette, images = exact
    found = palette.quantize([images[0], images[1, :4, :6]])
    assert isinstance(found, list)
    assert [tokens.shape for tokens in found] == [(8, 8), (4, 6)]
    assert model.tokens([emoji[0], emoji[1, :20, :24], emoji[2, ..., 0]]).shape == (3, 16, 16)


def test_pil_images_are_taken_in_a_list(exact: Any, grey: np.ndarray, pillow: Any) -> None:
    images = exact[1]
    assert np.array_equal(read(exact, [pillow.fromarray(image) for image in images]), images)
    assert np.array_equal(read(exact, [pillow.fromarray(image) for image in grey])[..., 0], grey)


def test_pil_images_of_a_palette_have_its_colours(exact: Any, pillow: Any) -> None:
    images = exact[1]
    indexed = [pillow.fromarray(image).convert("P", palette=pillow.Palette.ADAPTIVE, colors=64) for image in images]
    assert np.array_equal(read(exact, indexed), images)


def test_transparent_pixels_lie_on_white(exact: Any, pillow: Any) -> None:
    image = exact[1][0]
    opacity = np.where(np.arange(64).reshape(8, 8) % 2 == 0, 255, 0).astype(np.uint8)
    expected = np.where(opacity[..., None] == 255, image, 255)
    given = pillow.fromarray(np.dstack([image, opacity]))
    assert np.array_equal(read(exact, [given])[0], expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_pil_image_is_read_as_its_file_is(tmp_path: Path, emoji: np.ndarray, pillow: Any, mode: str) -> None:
    if mode == "I;16":
        image = pillow.fromarray(np.linspace(0, 65535, 32 * 32, dtype=np.uint16).reshape(32, 32))
    elif mode == "P":
        image = pillow.fromarray(emoji[0]).quantize(16)
        image.info["transparency"] = 1
    else:
        image = pillow.fromarray(emoji[0])
        image.putalpha(pillow.fromarray(emoji[1, ..., 0]))
        image = image.convert(mode)
    assert image.mode == mode
    image.save(tmp_path / "image.png", **({"transparency": 1} if mode == "P" else {}))
    palette = igpt.Palette.fit(np.arange(256, dtype=np.uint8).reshape(1, 16, 16), colors=256)
    assert same(palette.quantize([image]), palette.quantize([tmp_path / "image.png"]))
    colors = igpt.Palette.fit(emoji, colors=128)
    assert same(colors.quantize([image]), colors.quantize([tmp_path / "image.png"]))


def test_pil_images_of_numbers_follow_the_rules_of_arrays(exact: Any, grey: np.ndarray, pillow: Any) -> None:
    unit = pillow.fromarray((grey[0] / 255).astype(np.float32))
    assert unit.mode == "F"
    assert np.array_equal(read(exact, [unit])[0, ..., 0], grey[0])
    with pytest.raises(TypeError, match="int32.*uint8"):
        read(exact, [pillow.fromarray(grey[0].astype(np.int32))])


def test_one_pil_image_is_to_be_put_into_a_list(exact: Any, pillow: Any) -> None:
    with pytest.raises(TypeError, match=r"\[image\]"):
        read(exact, pillow.fromarray(exact[1][0]))


def test_paths_folders_and_files_are_taken(exact: Any, pillow: Any, tmp_path: Path) -> None:
    images = exact[1]
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path, image in zip(paths, images, strict=True):
        pillow.fromarray(image).save(path)
    assert np.array_equal(read(exact, paths), images)
    assert np.array_equal(read(exact, [str(path) for path in paths]), images)
    assert np.array_equal(read(exact, tmp_path), images)
    assert np.array_equal(read(exact, str(tmp_path)), images)
    assert np.array_equal(read(exact, paths[3]), images[3:4])


def test_paths_keep_their_order(exact: Any, pillow: Any, tmp_path: Path) -> None:
    images = exact[1]
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path, image in zip(paths, images, strict=True):
        pillow.fromarray(image).save(path)
    assert np.array_equal(read(exact, paths[::-1]), images[::-1])


def test_a_folder_named_as_a_data_set_is_read_as_a_folder(
    exact: Any, pillow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("emoji").mkdir()
    pillow.fromarray(exact[1][0]).save("emoji/0.png")
    assert np.array_equal(read(exact, Path("emoji")), exact[1][:1])


def test_arrays_pil_images_and_paths_mix_in_a_list(exact: Any, pillow: Any, tmp_path: Path) -> None:
    images = exact[1]
    pillow.fromarray(images[2]).save(tmp_path / "2.png")
    mixed = [images[0], pillow.fromarray(images[1]), tmp_path / "2.png", images[3] / 255]
    assert np.array_equal(read(exact, mixed), images[:4])


class WithArray:
    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self._values


class WithDlpack:
    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __dlpack__(self, **how: Any) -> Any:
        return self._values.__dlpack__(**how)

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


@pytest.mark.parametrize("kind", [WithArray, WithDlpack])
def test_tensors_are_taken_through_their_protocols(exact: Any, kind: Any) -> None:
    images = exact[1]
    assert np.array_equal(read(exact, kind(images)), images)
    assert np.array_equal(read(exact, [kind(image) for image in images]), images)


def test_tensors_of_torch_are_taken(exact: Any) -> None:
    torch = pytest.importorskip("torch")
    images = exact[1]
    assert np.array_equal(read(exact, torch.from_numpy(images.copy())), images)
    learned = torch.from_numpy((images / 255).astype(np.float32)).requires_grad_()
    assert np.array_equal(read(exact, learned), images)


def test_images_are_scaled_to_the_size_of_the_model(model: igpt.Model, emoji: np.ndarray) -> None:
    assert model.tokens(emoji).shape == (12, 16, 16)
    assert model.tokens(np.repeat(emoji, 2, axis=1)).shape == (12, 16, 16)


@pytest.mark.parametrize(
    ("images", "error", "given"),
    [
        (np.zeros((8, 8), np.uint8), ValueError, r"uint8 \(8, 8\).*images\[None\]"),
        (np.zeros((8, 8, 3), np.uint8), ValueError, r"uint8 \(8, 8, 3\).*images\[None\]"),
        (np.zeros((8, 8, 1), np.uint8), ValueError, r"uint8 \(8, 8, 1\).*images\[None\]"),
        (np.zeros((2, 3, 8, 8), np.uint8), ValueError, r"uint8 \(2, 3, 8, 8\).*igpt.images\(array, channels_first=True\)"),
        (np.zeros((2, 8, 8, 4), np.uint8), ValueError, r"uint8 \(2, 8, 8, 4\)"),
        (np.zeros((2, 8, 8, 2), np.uint8), ValueError, r"uint8 \(2, 8, 8, 2\)"),
        (np.zeros((1, 2, 8, 8, 3), np.uint8), ValueError, r"uint8 \(1, 2, 8, 8, 3\)"),
        (np.zeros((2, 64), np.uint8), ValueError, r"uint8 \(2, 64\)"),
        (np.uint8(3), ValueError, r"uint8 \(\)"),
        (np.zeros((2, 8, 8), np.int64), TypeError, "int64.*uint8"),
        (np.zeros((2, 8, 8), np.uint16), TypeError, "uint16.*uint8"),
        (np.zeros((2, 8, 8), np.complex64), TypeError, "complex64.*uint8"),
        (np.full((2, 8, 8), "a"), TypeError, "U1.*uint8"),
        (np.full((2, 8, 8), 255.0), ValueError, r"255.*\[0, 1\]"),
        (np.full((2, 8, 8), -0.5), ValueError, r"-0\.5.*\[0, 1\]"),
        (np.full((2, 8, 8), np.nan), ValueError, r"NaN.*\[0, 1\]"),
        (np.where(np.arange(64).reshape(1, 8, 8) == 5, np.nan, 0.5), ValueError, r"NaN.*\[0, 1\]"),
        (np.full((2, 8, 8), np.inf), ValueError, r"inf.*\[0, 1\]"),
        (np.zeros((2, 0, 8), np.uint8), ValueError, r"\(2, 0, 8"),
        (np.zeros((0, 8, 8), np.uint8), ValueError, "no images"),
        ([], ValueError, "no images"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros(8, np.uint8)], ValueError, r"image 1.*\(8,\)"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), int)], TypeError, "image 1.*int64"),
        ([np.zeros((8, 8)), np.full((8, 8), 2.0)], ValueError, r"image 1.*2.*\[0, 1\]"),
        ([None], TypeError, "image 0.*NoneType"),
        ({"a": 1}, TypeError, "dict"),
        (b"bytes", TypeError, "bytes"),
        (5, TypeError, "int"),
        (None, TypeError, "NoneType"),
        ("no/such/folder", FileNotFoundError, "no/such/folder"),
        (["no/such/file.png"], FileNotFoundError, "no/such/file.png"),
    ],
)
def test_what_is_no_set_of_images_is_refused_by_what_was_given_and_what_is_taken(
    exact: Any, model: igpt.Model, images: Any, error: type[Exception], given: str
) -> None:
    for call in (model.log_likelihood, model.tokens, exact[0].quantize):
        with pytest.raises(error, match=f"(?s){given}"):
            call(images)


def test_channels_first_is_refused_where_it_does_not_fit(exact: Any) -> None:
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        igpt.images(exact[1], channels_first=True)


def test_an_image_in_a_list_is_named_by_its_position(model: igpt.Model, emoji: np.ndarray) -> None:
    with pytest.raises(ValueError, match="image 2"):
        model.tokens([emoji[0], emoji[1], emoji[2][None]])


def test_a_file_that_is_no_image_is_named(model: igpt.Model, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(ValueError, match="broken.png"):
        model.tokens([tmp_path / "broken.png"])


def test_a_folder_in_a_list_is_refused(model: igpt.Model, pillow: Any, emoji: np.ndarray, tmp_path: Path) -> None:
    for i in range(2):
        pillow.fromarray(emoji[i]).save(tmp_path / f"{i}.png")
    with pytest.raises(ValueError, match="folder"):
        model.tokens([tmp_path])
