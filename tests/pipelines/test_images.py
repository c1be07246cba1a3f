"""Images to arrays: every form in, and the steps of preprocessor configurations against plain NumPy and Pillow."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipelines.images import IMAGENET_MEAN, IMAGENET_STD, ImageSteps, as_pixels, open_image, prepare, steps_of

Array = NDArray[Any]
RNG = np.random.default_rng(11)
PIXELS = RNG.integers(0, 256, (37, 53, 3), dtype=np.uint8)


def _png(pixels: Array) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _forms(folder: Path) -> dict[str, Any]:
    content = _png(PIXELS)
    (folder / "image.png").write_bytes(content)
    return {
        "path": folder / "image.png",
        "text": str(folder / "image.png"),
        "bytes": content,
        "data url": "data:image/png;base64," + base64.b64encode(content).decode(),
        "array": PIXELS,
        "channels first": PIXELS.transpose(2, 0, 1),
        "floats": PIXELS.astype(np.float32) / 255,
        "with opacity": np.dstack([PIXELS, np.full((37, 53), 255, np.uint8)]),
        "pillow": Image.fromarray(PIXELS),
    }


def test_every_form_of_an_image_is_the_same_image(tmp_path: Path) -> None:
    for name, form in _forms(tmp_path).items():
        np.testing.assert_array_equal(np.asarray(open_image(form).convert("RGB")), PIXELS, err_msg=name)


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (1, 20, 30)])
def test_grey_arrays_are_images(shape: tuple[int, ...]) -> None:
    grey = RNG.integers(0, 256, shape, dtype=np.uint8)
    assert open_image(grey).size == (30, 20)


def test_a_photograph_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    assert open_image(tmp_path / "turned.png").size == (37, 53)


@pytest.mark.parametrize(
    "bad",
    [b"no image", "data:image/png;base64,????", "data:image/png,abc", np.zeros((2, 3, 4, 5)), np.zeros(7)],
)
def test_what_is_no_image_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="image"):
        open_image(bad)


def test_what_is_no_image_is_named_without_an_address(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    for source, name in ((b"hello", "5 bytes"), (tmp_path / "text.png", "text.png")):
        with pytest.raises(ValueError, match=f"{name}: not an image that Pillow can read\\.$"):
            open_image(source)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_no_image(number: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        as_pixels(np.full((2, 2), number))


def test_uneven_rows_are_no_image() -> None:
    with pytest.raises(ValueError, match="rows of one length"):
        open_image([[[1, 2, 3], [3, 4]]])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        open_image(tmp_path / "nothing.png")


def test_floats_outside_zero_and_one_are_cut() -> None:
    np.testing.assert_array_equal(as_pixels(np.array([[-1.0, 0.5, 2.0]])), [[0, 128, 255]])


def _reference(config: dict[str, Any], pixels: Array) -> Array:
    """The configuration word by word, one step after the other in float64."""
    image = Image.fromarray(pixels)
    if config.get("do_convert_grayscale"):
        image = image.convert("L")
    size = config.get("size", {})
    if config.get("do_resize") and "shortest_edge" in size:
        short = size["shortest_edge"]
        wide = image.width > image.height
        scaled = int(short * max(image.size) / min(image.size))
        image = image.resize((scaled, short) if wide else (short, scaled), config.get("resample", 2))
    elif config.get("do_resize"):
        image = image.resize((size["width"], size["height"]), config.get("resample", 2))
    values = np.asarray(image, dtype=np.float64)
    values = values[..., None] if values.ndim == 2 else values
    if config.get("do_center_crop"):
        crop = config["crop_size"]
        top = round((values.shape[0] - crop["height"]) / 2)
        left = round((values.shape[1] - crop["width"]) / 2)
        values = values[top : top + crop["height"], left : left + crop["width"]]
    if config.get("do_rescale"):
        values = values * config["rescale_factor"]
    if config.get("do_normalize"):
        values = (values - np.array(config["image_mean"])) / np.array(config["image_std"])
    return values.transpose(2, 0, 1)


NORMAL = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
CONFIGS: list[dict[str, Any]] = [
    {"do_resize": True, "size": {"height": 24, "width": 32}, **NORMAL, "image_mean": IMAGENET_MEAN,
     "image_std": IMAGENET_STD},
    {"do_resize": True, "size": {"shortest_edge": 30}, "resample": 3, "do_center_crop": True,
     "crop_size": {"height": 24, "width": 24}, **NORMAL, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    {"do_resize": True, "size": {"height": 28, "width": 28}, "do_convert_grayscale": True, **NORMAL,
     "image_mean": [0.286], "image_std": [0.353]},
    {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 21, "width": 33}, **NORMAL,
     "image_mean": [0.1, 0.2, 0.3], "image_std": [1.0, 2.0, 3.0]},
    {"do_resize": True, "size": {"height": 9, "width": 9}, "resample": 0, "do_rescale": False, "do_normalize": False},
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS)
@given(height=st.integers(22, 90), width=st.integers(34, 90), seed=st.integers(0, 99))
def test_preprocessing_is_that_of_its_configuration(
    config: dict[str, Any], height: int, width: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = prepare(Image.fromarray(pixels), steps_of(config, None, 3))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    expected = _reference(config, pixels)
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))


def test_without_a_configuration_images_are_prepared_as_imagenets() -> None:
    steps = steps_of({}, (224, 224), 3)
    assert steps == ImageSteps((256, 256), crop=(224, 224), mean=IMAGENET_MEAN, std=IMAGENET_STD)
    image = Image.fromarray(PIXELS)
    resized = np.asarray(image.resize((256, 256), 2), dtype=np.float64)[16:240, 16:240] / 255
    expected = ((resized - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)
    np.testing.assert_allclose(prepare(image, steps), expected, atol=1e-5)
