"""How answers are scored: entities, spans of text, boxes. NumPy only; shared with `tools/accuracy.py`."""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).round(2).tolist())


def entities(tags: list[str]) -> set[tuple[int, int, str]]:
    """(first word, word after the last, type) of each entity; an I without its B begins one."""
    found, begin, kind = set(), 0, ""
    for place, tag in enumerate([*tags, "O"]):
        if kind and tag != f"I-{kind}":
            found.add((begin, place, kind))
            kind = ""
        if tag != "O" and not kind:
            begin, kind = place, tag[2:]
    return found


def plain(text: str) -> str:
    """SQuAD's normal form: lower case, no punctuation, no articles, single blanks."""
    kept = "".join(sign for sign in text.lower() if sign not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def word_f1(ours: str, theirs: str) -> float:
    """Harmonic mean of precision and recall over the words of two answers, 0.0 to 1.0."""
    left, right = plain(ours).split(), plain(theirs).split()
    if not left or not right:
        return float(left == right)
    same = sum((Counter(left) & Counter(right)).values())
    return 2.0 * same / (len(left) + len(right))


def mean_average_precision(
    found: list[Array], boxes: Array, classes: Array, owner: Array, *, least: float = 0.01, most: int = 100
) -> dict[str, float]:
    """mAP at IoU 0.5 and over 0.5:0.95, area under the precision envelope, mean over the classes.

    found     per image f32 [cells, 5 + classes]: centre, size, objectness, class scores, before suppression
    boxes     f32 [m, 4] corners of the truth, classes i64 [m], owner i64 [m] the image of each
    """
    rows = []
    for image, answer in enumerate(found):
        rows += [(image, *row) for row in suppress(answer, least=least, most=most)]
    return average_precision(np.array(rows, dtype=np.float64).reshape(-1, 7), boxes, classes, owner)


def suppress(answer: Array, *, least: float, most: int, share: float = 0.6) -> list[Array]:
    """Best class per cell, then greedy suppression within a class: rows (x1, y1, x2, y2, score, class)."""
    scores = answer[:, 5:] * answer[:, 4:5]
    kind, best = scores.argmax(-1), scores.max(-1)
    half = answer[:, 2:4] / 2
    corners = np.concatenate([answer[:, :2] - half, answer[:, :2] + half], -1)
    kept: list[Array] = []
    for index in np.argsort(-best, kind="stable"):
        if best[index] < least or len(kept) == most:
            break
        row = np.array([*corners[index], best[index], kind[index]], dtype=np.float64)
        if not any(other[5] == row[5] and overlap(other[None, :4], row[:4])[0] > share for other in kept):
            kept.append(row)
    return kept


def overlap(boxes: Array, box: Array) -> Array:
    """Intersection over union of corner boxes [n, 4] with one box [4]."""
    size = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    common = np.prod(np.maximum(size, 0), axis=-1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) + np.prod(box[2:] - box[:2])
    return np.asarray(common / np.maximum(areas - common, 1e-9))


def average_precision(rows: Array, boxes: Array, classes: Array, owner: Array) -> dict[str, float]:
    """The two means for rows (image, x1, y1, x2, y2, score, class)."""
    table = np.zeros((len(np.unique(classes)), len(THRESHOLDS)))
    for place, kind in enumerate(np.unique(classes)):
        ours = rows[rows[:, 6] == kind]
        ours = ours[np.argsort(-ours[:, 5], kind="stable")]
        truth = {image: boxes[(owner == image) & (classes == kind)] for image in np.unique(owner)}
        count = int((classes == kind).sum())
        for column, threshold in enumerate(THRESHOLDS):
            table[place, column] = _area(_hits(ours, truth, threshold), count)
    return {"map50": round(float(table[:, 0].mean()), 4), "map": round(float(table.mean()), 4)}


def _hits(ours: Array, truth: dict[int, Array], threshold: float) -> Array:
    """For each answer, best first: whether it takes a box of the truth that is still free."""
    free = {image: np.ones(len(boxes), dtype=bool) for image, boxes in truth.items()}
    hits = np.zeros(len(ours))
    for place, row in enumerate(ours):
        image = int(row[0])
        if not len(truth.get(image, ())):
            continue
        share = np.where(free[image], overlap(truth[image], row[1:5]), -1.0)
        best = int(share.argmax())
        if share[best] >= threshold:
            hits[place], free[image][best] = 1.0, False
    return hits


def _area(hits: Array, count: int) -> float:
    right = np.cumsum(hits)
    recall, precision = right / count, right / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
