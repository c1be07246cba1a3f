"""Detections from a model's raw output, in the forms of the YOLO family, and boxes back in the image.

decoded     [batch, cells, 5 + classes]           centre, size, objectness, class scores (v5, v7)
grids       [batch, anchors, rows, columns, 5 + classes] logits, one output per stride (v5, cut before decoding)
anchorless  [batch, 4 + classes, cells]            centre, size, class scores, no objectness (v8 and later)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import ModelError
from pipelines.scores import sigmoid
from pipelines.suppression import suppress

Array = NDArray[Any]

# Width and height of the anchors of YOLOv5 in pixels, three per stride (its published model files).
ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
# What a letterboxed image is framed with.
FRAME_GREY = 114


@dataclass(frozen=True, slots=True)
class Candidates:
    """All cells of one image: centre and size f32 [n, 4], class scores f32 [n, classes], what else a cell says."""

    boxes: Array
    scores: Array
    objectness: Array | None
    extra: Array


@dataclass(frozen=True, slots=True)
class Detections:
    """What stays of one image: corners f32 [n, 4] in the model's pixels, scores, classes, and the rest."""

    boxes: Array
    scores: Array
    classes: Array
    extra: Array


@dataclass(frozen=True, slots=True)
class Placement:
    """How an image lies in the model's input: pixel x of the image is at x * scale + offset, for x and y."""

    image: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]

    @classmethod
    def of(cls, image: tuple[int, int], size: tuple[int, int], *, letterbox: bool) -> Placement:
        """Of an image (width, height) in an input (width, height): stretched, or whole in a frame."""
        across, down = size[0] / image[0], size[1] / image[1]
        if not letterbox:
            return cls(image, (across, down), (0.0, 0.0))
        scale = min(across, down)
        inner = round(image[0] * scale), round(image[1] * scale)
        return cls(
            image, (scale, scale), (float((size[0] - inner[0]) // 2), float((size[1] - inner[1]) // 2))
        )

    def back(self, boxes: Array) -> Array:
        """Corners [n, 4] of the model's input in pixels of the image, cut at its edges."""
        found = (boxes - np.tile(self.offset, 2)) / np.tile(self.scale, 2)
        clipped: Array = np.clip(found, 0, np.tile(self.image, 2))
        return clipped


def candidates(
    outputs: Sequence[Array], anchors: Sequence[Any], height: int, masks: int = 0
) -> list[Candidates]:
    """The cells of every image of a batch, from outputs in any of the three forms.

    anchors   per stride, (width, height) pairs in pixels
    height    of the model's input, from which grids know their strides
    masks     coefficients that each cell carries at its end

    Raises ModelError for outputs of another form.
    """
    if outputs[0].ndim == 5:
        return _objects(
            decode_grids([output for output in outputs if output.ndim == 5], anchors, height), masks
        )
    if outputs[0].ndim != 3:
        shapes = [output.shape for output in outputs]
        message = f"The outputs {shapes} are of no YOLO form: [batch, cells, 5 + classes], [batch, 4 + classes, cells]."
        raise ModelError(message)
    if outputs[0].shape[1] < outputs[0].shape[2]:
        rows = outputs[0].transpose(0, 2, 1)
        end = rows.shape[2] - masks
        return [Candidates(row[:, :4], row[:, 4:end], None, row[:, end:]) for row in rows]
    return _objects(outputs[0], masks)


def _objects(rows: Array, masks: int) -> list[Candidates]:
    end = rows.shape[2] - masks
    return [Candidates(row[:, :4], row[:, 5:end] * row[:, 4:5], row[:, 4], row[:, end:]) for row in rows]


def decode_grids(outputs: Sequence[Array], anchors: Sequence[Any], height: int) -> Array:
    """Logits of grids to the decoded form (formulas of YOLOv5's head).

    Centre (2 s - 0.5 + cell) * stride and size (2 s)^2 * anchor, s the sigmoid of the logit.
    """
    parts = []
    for grid, pairs in zip(outputs, anchors, strict=False):
        batch, count, rows, columns, _ = grid.shape
        stride = height / rows
        values = sigmoid(grid)
        cells = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
        sizes = np.asarray(pairs, dtype=np.float64).reshape(1, count, 1, 1, 2)
        centres = (values[..., :2] * 2.0 - 0.5 + cells) * stride
        found = np.concatenate([centres, (values[..., 2:4] * 2.0) ** 2 * sizes, values[..., 4:]], axis=-1)
        parts.append(found.reshape(batch, -1, grid.shape[4]))
    return np.concatenate(parts, axis=1).astype(np.float32)


def detect(found: Candidates, least: float, share: float, *, multi_label: bool = False) -> Detections:
    """The boxes of one image that score more than `least` and are not suppressed at overlap `share`.

    Each cell has its best class alone, or with `multi_label` all that score enough.
    """
    scores = found.scores
    if found.objectness is not None:
        scores = np.where((found.objectness > least)[:, None], scores, 0.0)
    if multi_label:
        cells, classes = np.nonzero(scores > least)
    else:
        best = scores.argmax(axis=1) if scores.shape[1] else np.zeros(len(scores), dtype=np.int64)
        cells = np.flatnonzero(np.take_along_axis(scores, best[:, None], axis=1)[:, 0] > least)
        classes = best[cells]
    boxes, scored = corners(found.boxes[cells]), scores[cells, classes]
    kept = suppress(boxes, scored, classes, share)
    return Detections(boxes[kept], scored[kept], classes[kept], found.extra[cells[kept]])


def corners(boxes: Array) -> Array:
    """Centre and size [n, 4] as x1, y1, x2, y2."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
