"""Task yolact: boxes, classes and masks of objects, by models of YOLACT (Bolya et al. 2019)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_serializer

from engine import ModelError
from pipelines.detection import Placement, corners
from pipelines.masks import box_masks
from pipelines.registry import Task
from pipelines.suppression import suppress
from pipelines.vision import ImageInput, ImagePipeline, image_list

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[Any]
# How far a box may be from its prior, as its model was trained (SSD, Liu et al. 2016).
_VARIANCES = (0.1, 0.2)


class YolactInput(ImageInput):
    """Images, and where the line is drawn between an object and none."""

    confidence_threshold: float = Field(
        default=0.05, ge=0, le=1, description="The least score of a candidate."
    )
    nms_threshold: float = Field(
        default=0.5, ge=0, le=1, description="Overlap above which the worse box goes."
    )
    top_k_preprocessing: int = Field(default=200, ge=1, description="Candidates per class.")
    max_num_detections: int = Field(default=100, ge=1, description="Objects per image.")
    score_threshold: float = Field(default=0.0, ge=0, le=1, description="The least score of an object.")
    return_masks: bool = Field(default=True, description="Whether masks are computed.")


class YolactOutput(BaseModel):
    """One list per image; boxes are x1, y1, x2, y2 in its pixels."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    classes: list[list[int | str]] = Field(description="Names, or class numbers without names.")
    scores: list[list[float]] = Field(description="From 0 to 1, best first.")
    boxes: list[list[list[float]]] = Field(description="Corners.")
    masks: list[Any] | None = Field(default=None, description="Per image u8 [objects, height, width].")

    @field_serializer("masks")
    def _as_lists(self, masks: list[Any] | None) -> list[Any] | None:
        return None if masks is None else [np.asarray(mask).tolist() for mask in masks]


class YolactPipeline(ImagePipeline):
    """Finds objects with their outlines.

    The model's outputs, known by their shapes: boxes [batch, n, 4], scores [batch, n, 1 + classes] with the
    background first, coefficients [batch, n, k], prototypes [batch, rows, columns, k], and priors [n, 4] where
    boxes are not decoded yet. Boxes are shares of the image's sides.
    """

    def __init__(self, model_path: str | Path | None = None, *, top_k: int = 50, **arguments: Any) -> None:
        """Create the pipeline; the other arguments are those of `ImagePipeline`.

        top_k   objects per image at most, besides the request's own limit
        """
        super().__init__(model_path, **arguments)
        self.top_k = top_k

    @property
    def input_schema(self) -> type[YolactInput]:
        return YolactInput

    @property
    def output_schema(self) -> type[YolactOutput]:
        return YolactOutput

    def process_inputs(self, inputs: YolactInput) -> tuple[list[Array], dict[str, Any]]:
        prepared = self.each(image_list(inputs.images)[0], self._prepare)
        shape = (0, self.channels, *self.image_size)
        batch = np.stack([row for row, _ in prepared]) if prepared else np.zeros(shape, np.float32)
        sizes = [size for _, size in prepared]
        return [batch.astype(self.input_dtype, copy=False)], {"inputs": inputs, "sizes": sizes}

    def process_engine_outputs(self, engine_outputs: list[Array], **context: Any) -> YolactOutput:
        inputs: YolactInput = context["inputs"]
        answer = YolactOutput(classes=[], scores=[], boxes=[], masks=[] if inputs.return_masks else None)
        if not engine_outputs:
            return answer
        boxes, scores, coefficients, prototypes = read_outputs(engine_outputs)
        for place, size in enumerate(context["sizes"]):
            cells, classes, scored = _objects(boxes[place], scores[place], inputs)
            cells, classes, scored = (
                part[: min(self.top_k, inputs.max_num_detections)] for part in (cells, classes, scored)
            )
            placement = Placement.of(size, (1, 1), letterbox=False)
            answer.classes.append([self.names.get(kind, kind) for kind in classes.tolist()])
            answer.scores.append(scored.astype(float).tolist())
            answer.boxes.append(placement.back(boxes[place][cells]).tolist())
            if answer.masks is not None:
                layers = prototypes[place].transpose(2, 0, 1)
                own = box_masks(coefficients[place][cells], layers, boxes[place][cells], (1, 1), placement)
                answer.masks.append(np.stack(own) if own else np.zeros((0, *size[::-1]), np.uint8))
        return answer

    def _prepare(self, image: Image) -> tuple[Array, tuple[int, int]]:
        from PIL import Image as Pillow

        height, width = self.image_size
        pixels = np.asarray(image.convert("RGB").resize((width, height), Pillow.Resampling.BILINEAR))
        return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / np.float32(255), image.size


def read_outputs(outputs: list[Array]) -> tuple[Array, Array, Array, Array]:
    """Boxes as corners, scores, coefficients and prototypes. Raises ModelError when one is missing."""
    prototypes = [output for output in outputs if output.ndim == 4]
    rows = [output for output in outputs if output.ndim == 3]
    priors = [output for output in outputs if output.ndim == 2 and output.shape[1] == 4]
    if len(prototypes) != 1 or len(rows) != 3 or rows[0].shape[2] != 4:
        message = f"A YOLACT model gives boxes, scores, coefficients and prototypes; got {[o.shape for o in outputs]}."
        raise ModelError(message)
    width = prototypes[0].shape[3]
    boxes, scores, coefficients = rows if rows[2].shape[2] == width else (rows[0], rows[2], rows[1])
    if priors:
        boxes = np.stack([decode(row, priors[0]) for row in boxes])
    return (
        boxes,
        scores,
        np.tanh(coefficients) if np.abs(coefficients).max() > 1 else coefficients,
        prototypes[0],
    )


def decode(boxes: Array, priors: Array) -> Array:
    """Corners of boxes that are told as differences from priors (centre and size)."""
    centres = priors[:, :2] + boxes[:, :2] * _VARIANCES[0] * priors[:, 2:]
    sizes = priors[:, 2:] * np.exp(boxes[:, 2:] * _VARIANCES[1])
    return corners(np.concatenate([centres, sizes], axis=1))


def _objects(boxes: Array, scores: Array, inputs: YolactInput) -> tuple[Array, Array, Array]:
    """Cells, classes and scores of what stays, best first."""
    kinds = scores[:, 1:]
    # Of each class the best cells alone are compared with each other.
    order = np.argsort(-kinds, axis=0, kind="stable")[: inputs.top_k_preprocessing]
    cells, classes = order.ravel(), np.tile(np.arange(kinds.shape[1]), len(order))
    scored = kinds[cells, classes]
    enough = scored > max(inputs.confidence_threshold, inputs.score_threshold)
    cells, classes, scored = cells[enough], classes[enough], scored[enough]
    kept = suppress(boxes[cells], scored, classes, inputs.nms_threshold, inputs.max_num_detections)
    return cells[kept], classes[kept], scored[kept]


TASK = Task(name="yolact", pipeline=YolactPipeline)
