"""Greedy non-maximum suppression, compiled: of boxes that overlap too much, the best one stays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# A detector's answer is cut at these, as its family does: candidates per image, and answers.
MOST_CANDIDATES, MOST_DETECTIONS = 30_000, 300


def suppress(
    boxes: NDArray[Any],
    scores: NDArray[Any],
    classes: NDArray[Any],
    share: float,
    most: int = MOST_DETECTIONS,
) -> NDArray[np.int64]:
    """Places of the boxes that stay, best first, at most `most`.

    boxes     f32 [n, 4] corners x1, y1, x2, y2
    scores    [n], classes [n]; only boxes of one class suppress each other
    share     intersection over union above which the worse of two boxes goes
    """
    order = np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]
    kept = _greedy(
        np.ascontiguousarray(boxes[order], dtype=np.float32),
        np.ascontiguousarray(classes[order], dtype=np.int64),
        np.float32(share),
        most,
    )
    found: NDArray[np.int64] = order[kept]
    return found


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _greedy(boxes: Any, classes: Any, share: Any, most: int) -> Any:
    kept = np.empty(min(most, len(boxes)), dtype=np.int64)
    count = 0
    for place in range(len(boxes)):
        if count == most:
            break
        stays = True
        area = (boxes[place, 2] - boxes[place, 0]) * (boxes[place, 3] - boxes[place, 1])
        for other in kept[:count]:
            if classes[other] != classes[place]:
                continue
            width = min(boxes[place, 2], boxes[other, 2]) - max(boxes[place, 0], boxes[other, 0])
            height = min(boxes[place, 3], boxes[other, 3]) - max(boxes[place, 1], boxes[other, 1])
            if width <= 0 or height <= 0:
                continue
            theirs = (boxes[other, 2] - boxes[other, 0]) * (boxes[other, 3] - boxes[other, 1])
            common = width * height
            if common > share * (area + theirs - common):
                stays = False
                break
        if stays:
            kept[count] = place
            count += 1
    return kept[:count]
