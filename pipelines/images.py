"""Images to arrays: reading them in whatever form they come, and the steps that a model was trained with."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine import OptionError

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[Any]
Float32 = NDArray[np.float32]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Sides before the centre crop, as shares of the crop: 256 pixels for 224.
_RESIZED_FOR_CROP = 256 / 224
_DATA_URL = "data:"


@dataclass(frozen=True, slots=True)
class ImageSteps:
    """What is done to an image, in this order.

    resize     height and width; None keeps the image's
    shortest   the shorter side, the other in proportion; instead of `resize`
    crop       height and width of the part in the middle; what the image lacks is black
    resample   a filter number of Pillow: 0 nearest, 2 bilinear, 3 bicubic
    factor     multiplied with every value; then mean is taken away, and the rest divided by std, per channel
    channels   1 turns the image grey
    """

    resize: tuple[int, int] | None = None
    shortest: int | None = None
    crop: tuple[int, int] | None = None
    resample: int = 2
    factor: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels: int = 3


def steps_of(config: Mapping[str, Any], size: tuple[int, int] | None, channels: int) -> ImageSteps:
    """The steps of a preprocessor_config.json; without one, those of ImageNet's models.

    size       height and width that the model takes, where it says so
    channels   that the model takes
    """
    if not config:
        sides = None if size is None else (_larger(size[0]), _larger(size[1]))
        return ImageSteps(sides, crop=size, mean=IMAGENET_MEAN, std=IMAGENET_STD, channels=channels)
    wanted = config.get("size") if config.get("do_resize", True) else None
    resize, shortest = _sides(wanted)
    crop = _sides(config.get("crop_size"))[0] if config.get("do_center_crop") else None
    normalised = config.get("do_normalize", True)
    return ImageSteps(
        resize=resize,
        shortest=shortest,
        crop=crop,
        resample=int(config.get("resample", 2)),
        factor=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
        mean=tuple(config.get("image_mean", IMAGENET_MEAN)) if normalised else (0.0,),
        std=tuple(config.get("image_std", IMAGENET_STD)) if normalised else (1.0,),
        channels=1 if config.get("do_convert_grayscale") else channels,
    )


def prepare(image: Image, steps: ImageSteps) -> Float32:
    """f32 [channels, height, width] of an image."""
    image = image.convert("L" if steps.channels == 1 else "RGB")
    width, height = image.size
    if steps.resize is not None:
        image = image.resize(steps.resize[::-1], steps.resample)
    elif steps.shortest is not None:
        scale = steps.shortest / min(width, height)
        # The sides as torchvision takes them: the shorter exact, the longer cut.
        sides = [
            steps.shortest if side == min(width, height) else int(side * scale) for side in (width, height)
        ]
        image = image.resize((sides[0], sides[1]), steps.resample)
    if steps.crop is not None:
        left, top = round((image.width - steps.crop[1]) / 2), round((image.height - steps.crop[0]) / 2)
        image = image.crop((left, top, left + steps.crop[1], top + steps.crop[0]))
    pixels = np.asarray(image, dtype=np.uint8).reshape(image.height, image.width, steps.channels)
    std = np.asarray(steps.std, dtype=np.float64)
    scale_of = (steps.factor / std).astype(np.float32)
    shift = (np.asarray(steps.mean) / std).astype(np.float32)
    return np.ascontiguousarray((pixels * scale_of - shift).transpose(2, 0, 1), dtype=np.float32)


def open_image(source: Any) -> Image:
    """An image from a path, a data URL, the bytes of a file, a Pillow image, or an array.

    source   arrays are u8, or floats from 0 to 1, [h, w], [h, w, c] or [c, h, w]; the axis of channels is the
             first one when it is the shortest

    Raises OptionError without Pillow, FileNotFoundError for a missing file, ValueError for what is no image.
    """
    pillow = _pillow()
    if isinstance(source, pillow.Image):
        given: Image = source
        return given
    if isinstance(source, str) and source.startswith(_DATA_URL):
        source = _from_data_url(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decoded(BytesIO(source), f"{len(source)} bytes")
    if isinstance(source, (str, os.PathLike)):
        file = Path(source)
        if not file.is_file():
            message = f"No image file {file}."
            raise FileNotFoundError(message)
        return _decoded(file, str(file))
    try:
        array = np.asarray(source)
    except ValueError as error:
        message = "An image of nested lists needs rows of one length, and as many numbers for each pixel."
        raise ValueError(message) from error
    image: Image = pillow.fromarray(as_pixels(array))
    return image


def as_pixels(array: Array) -> NDArray[np.uint8]:
    """u8 [h, w] or [h, w, 3] of an array in one of the forms of `open_image`. Raises ValueError for others."""
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[0] < array.shape[-1]:
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (3, 4)) or not array.size:
        message = (
            f"An image is an array [h, w], [h, w, channels] or [channels, h, w]; got shape {array.shape}."
        )
        raise ValueError(message)
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            message = "An image holds finite numbers; this one has NaN or infinity in it."
            raise ValueError(message)
        array = np.rint(np.clip(array, 0.0, 1.0) * 255.0)
    return np.ascontiguousarray(array[..., :3] if array.ndim == 3 else array, dtype=np.uint8)


def _decoded(file: Any, name: str) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        image = Image.open(file)
        image.load()
    except Exception as error:  # many kinds, from a damaged file to one of too many pixels
        # What Pillow does not know it calls by the address of what it read.
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        message = f"{name}: not an image that Pillow can read{reason}."
        raise ValueError(message) from error
    # Cameras write how they were held instead of turning the pixels.
    turned: Image.Image | None = ImageOps.exif_transpose(image)
    return image if turned is None else turned


def _from_data_url(url: str) -> bytes:
    head, _, body = url.partition(",")
    try:
        if head.endswith(";base64"):
            return base64.b64decode(body, validate=True)
    except binascii.Error:
        pass
    message = f"An image as text is a path or a data URL, data:image/...;base64,<content>; got {head[:40]}."
    raise ValueError(message)


def _pillow() -> Any:
    try:
        from PIL import Image  # an extra
    except ImportError as error:
        message = 'Image tasks need Pillow: pip install "sparselane[image]".'
        raise OptionError(message) from error
    return Image


def _sides(size: Any) -> tuple[tuple[int, int] | None, int | None]:
    """Height and width, or the shorter side, from the forms that preprocessor configurations have."""
    if size is None:
        return None, None
    if isinstance(size, Mapping):
        if "shortest_edge" in size:
            return None, int(size["shortest_edge"])
        return (int(size["height"]), int(size["width"])), None
    if isinstance(size, (list, tuple)):
        return (int(size[0]), int(size[1])), None
    return (int(size), int(size)), None


def _larger(side: int) -> int:
    return round(_RESIZED_FOR_CROP * side)
