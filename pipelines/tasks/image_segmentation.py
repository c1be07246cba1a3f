"""Task image-segmentation: a class for every pixel of an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_serializer

from engine import ModelError
from pipelines.images import open_image, prepare, steps_of
from pipelines.registry import Task
from pipelines.vision import ImageInput, ImagePipeline, image_list

Array = NDArray[Any]


class ImageSegmentationOutput(BaseModel):
    """One map of class numbers per image, and what the numbers in it are called."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    masks: list[Any] = Field(description="Per image int64 [height, width]: the class of each pixel.")
    labels: list[dict[int, str | int]] = Field(description="Per image the classes in it, by number.")

    @field_serializer("masks")
    def _as_lists(self, masks: list[Any]) -> list[Any]:
        return [np.asarray(mask).tolist() for mask in masks]


class ImageSegmentationPipeline(ImagePipeline):
    """Gives every pixel the class with the highest score.

        paint = Pipeline.create("image-segmentation", model_path="segformer/", class_names="classes.json")
        paint("street.png").masks[0]            # int64 [height, width]

    The model's first output is f32 [batch, classes, rows, columns], or class numbers [batch, rows, columns]; scores
    are brought to the image's size first (bilinear), numbers by the nearest. An image is stretched to the model's
    size and never cropped.
    """

    @property
    def output_schema(self) -> type[ImageSegmentationOutput]:
        return ImageSegmentationOutput

    def process_inputs(self, inputs: ImageInput) -> tuple[list[Array], dict[str, Any]]:
        images = [open_image(source) for source in image_list(inputs.images)[0]]
        steps = steps_of(
            {**self.preprocessor, "do_center_crop": False, "size": _size(self.image_size)},
            None,
            self.channels,
        )
        rows = self.each(images, lambda image: prepare(image, steps))
        batch = np.stack(rows) if rows else np.zeros((0, self.channels, *self.image_size), np.float32)
        return [batch.astype(self.input_dtype, copy=False)], {"sizes": [image.size for image in images]}

    def process_engine_outputs(self, engine_outputs: list[Array], **context: Any) -> ImageSegmentationOutput:
        answer = ImageSegmentationOutput(masks=[], labels=[])
        for scores, size in zip(engine_outputs[0] if engine_outputs else (), context["sizes"], strict=True):
            mask = class_map(scores, size)
            answer.masks.append(mask)
            answer.labels.append(
                {number: self.names.get(number, number) for number in np.unique(mask).tolist()}
            )
        return answer


def class_map(scores: Array, size: tuple[int, int]) -> NDArray[np.int64]:
    """int64 [height, width] of scores f32 [classes, rows, columns] or class numbers [rows, columns].

    size   width and height of the image

    Raises ModelError for another number of axes.
    """
    from PIL import Image

    if scores.ndim == 2:
        numbers = Image.fromarray(scores.astype(np.int32)).resize(size, Image.Resampling.NEAREST)
        return np.asarray(numbers, dtype=np.int64)
    if scores.ndim != 3:
        message = f"A segmentation model gives [batch, classes, rows, columns]; got {scores.ndim + 1} axes."
        raise ModelError(message)
    best = np.full(size[::-1], -np.inf, dtype=np.float32)
    found = np.zeros(size[::-1], dtype=np.int64)
    for number, layer in enumerate(scores):
        whole = np.asarray(Image.fromarray(layer.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
        found[whole > best] = number
        best = np.maximum(best, whole)
    return found


def _size(sides: tuple[int, int]) -> dict[str, int]:
    return {"height": sides[0], "width": sides[1]}


TASK = Task(name="image_segmentation", pipeline=ImageSegmentationPipeline)
