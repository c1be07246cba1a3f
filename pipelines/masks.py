"""Masks of objects: sums of a model's prototypes, cut to their boxes and laid over the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.detection import Placement
from pipelines.scores import sigmoid

Array = NDArray[Any]


def box_masks(
    coefficients: Array, prototypes: Array, boxes: Array, size: tuple[int, int], placement: Placement
) -> list[NDArray[np.uint8]]:
    """A mask u8 [height, width] of the image, 0 or 1, for each box.

    coefficients   f32 [n, k], prototypes f32 [k, rows, columns]
    boxes          f32 [n, 4] corners in the model's input of `size` (width, height)
    """
    _, rows, columns = prototypes.shape
    shares = sigmoid(np.tensordot(coefficients, prototypes, axes=1))
    across, down = columns / size[0], rows / size[1]
    x, y = np.arange(columns) + 0.5, (np.arange(rows) + 0.5)[:, None]
    found = []
    for share, box in zip(shares, boxes, strict=True):
        inside = (x >= box[0] * across) & (x < box[2] * across) & (y >= box[1] * down) & (y < box[3] * down)
        found.append(over_image((share * inside).astype(np.float32), size, placement))
    return found


def over_image(share: Array, size: tuple[int, int], placement: Placement) -> NDArray[np.uint8]:
    """Where a map [rows, columns] over the model's input is above 0.5, in the image's pixels (bilinear)."""
    from PIL import Image

    rows, columns = share.shape
    width, height = placement.image
    left, top = placement.offset[0] * columns / size[0], placement.offset[1] * rows / size[1]
    right = left + width * placement.scale[0] * columns / size[0]
    bottom = top + height * placement.scale[1] * rows / size[1]
    box = left, top, min(right, columns), min(bottom, rows)
    whole = Image.fromarray(share.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR, box)
    mask: NDArray[np.uint8] = (np.asarray(whole) > 0.5).astype(np.uint8)
    return mask
