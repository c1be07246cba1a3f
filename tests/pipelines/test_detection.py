"""Detections against an independent decoding and suppression in plain loops, and boxes back in their images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import ModelError
from pipelines.detection import ANCHORS, Placement, candidates, corners, decode_grids, detect
from pipelines.suppression import suppress

Array = NDArray[Any]


def _share(a: Array, b: Array) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    return float(common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common))


def _reference(
    rows: list[tuple[Array, float, int]], share: float, most: int = 300
) -> list[tuple[Array, float, int]]:
    kept: list[tuple[Array, float, int]] = []
    for row in sorted(rows, key=lambda row: -row[1]):
        if len(kept) < most and not any(
            other[2] == row[2] and _share(other[0], row[0]) > share for other in kept
        ):
            kept.append(row)
    return kept


def _boxes(rng: np.random.Generator, count: int) -> Array:
    centre, size = rng.uniform(20, 140, (count, 2)), rng.uniform(4, 60, (count, 2))
    return np.concatenate([centre, size], axis=1).astype(np.float32)


@given(st.integers(0, 60), st.integers(0, 10_000), st.floats(0.05, 0.95), st.integers(1, 20))
def test_suppression_equals_plain_loops(count: int, seed: int, share: float, most: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = corners(_boxes(rng, count))
    scores, classes = rng.permutation(count) / max(count, 1), rng.integers(0, 3, count)
    kept = suppress(boxes, scores, classes, share, most)
    rows = list(zip(boxes, scores.tolist(), classes.tolist(), strict=True))
    expected = _reference(rows, share, most)
    assert [scores[place] for place in kept] == [score for _, score, _ in expected]


def _decoded(rng: np.random.Generator, cells: int, classes: int) -> Array:
    return np.concatenate([_boxes(rng, cells), rng.random((cells, 1 + classes))], axis=1).astype(np.float32)


@pytest.mark.parametrize("multi_label", [False, True])
@given(st.integers(8, 60), st.integers(0, 10_000))
def test_decoded_rows_give_the_detections_of_plain_loops(multi_label: bool, cells: int, seed: int) -> None:
    rows = _decoded(np.random.default_rng(seed), cells, 3)
    (image,) = candidates([rows[None]], ANCHORS, 160)
    found = detect(image, 0.3, 0.5, multi_label=multi_label)
    expected = []
    for row in rows:
        scores = row[5:] * row[4]
        kinds = range(3) if multi_label else [int(scores.argmax())]
        for kind in kinds:
            if row[4] > np.float32(0.3) and scores[kind] > np.float32(0.3):
                box = np.array(
                    [row[0] - row[2] / 2, row[1] - row[3] / 2, row[0] + row[2] / 2, row[1] + row[3] / 2]
                )
                expected.append((box, float(scores[kind]), kind))
    wanted = _reference(expected, 0.5)
    assert found.classes.tolist() == [kind for _, _, kind in wanted]
    np.testing.assert_allclose(
        found.boxes.reshape(-1, 4), np.reshape([box for box, _, _ in wanted], (-1, 4)), atol=1e-3
    )
    np.testing.assert_allclose(found.scores, [score for _, score, _ in wanted], atol=1e-6)


def test_the_anchorless_form_is_the_decoded_one_turned() -> None:
    rows = _decoded(np.random.default_rng(3), 80, 4)
    sure = rows.copy()
    sure[:, 4] = 1.0
    turned = np.delete(sure, 4, axis=1).T[None]
    (ours,), (theirs,) = candidates([turned], ANCHORS, 160), candidates([sure[None]], ANCHORS, 160)
    for left, right in zip(
        (detect(ours, 0.4, 0.5).boxes, detect(ours, 0.4, 0.5).scores),
        (detect(theirs, 0.4, 0.5).boxes, detect(theirs, 0.4, 0.5).scores),
        strict=True,
    ):
        np.testing.assert_array_equal(left, right)


def test_grids_are_decoded_as_their_formulas_say() -> None:
    rng = np.random.default_rng(5)
    grids = [rng.normal(size=(2, 3, side, side, 7)).astype(np.float32) for side in (20, 10, 5)]
    found = decode_grids(grids, ANCHORS, 160)
    place = 0
    for grid, anchors in zip(grids, ANCHORS, strict=True):
        stride = 160 / grid.shape[2]
        for anchor, row, column in np.ndindex(*grid.shape[1:4]):
            raw = grid[1, anchor, row, column].astype(np.float64)
            s = 1 / (1 + np.exp(-raw))
            expected = [
                (2 * s[0] - 0.5 + column) * stride,
                (2 * s[1] - 0.5 + row) * stride,
                (2 * s[2]) ** 2 * anchors[anchor][0],
                (2 * s[3]) ** 2 * anchors[anchor][1],
                *s[4:],
            ]
            np.testing.assert_allclose(found[1, place], expected, rtol=1e-5)
            place += 1
    assert place == found.shape[1]


def test_outputs_of_another_form_are_refused() -> None:
    with pytest.raises(ModelError, match=r"\(1, 10\)"):
        candidates([np.zeros((1, 10))], ANCHORS, 160)


@given(st.integers(1, 400), st.integers(1, 400), st.booleans())
def test_boxes_come_back_where_they_were(width: int, height: int, letterbox: bool) -> None:
    placement = Placement.of((width, height), (160, 96), letterbox=letterbox)
    inside = np.array([[0.0, 0.0, width, height], [width / 4, height / 3, width / 2, height / 2]])
    there = inside * np.tile(placement.scale, 2) + np.tile(placement.offset, 2)
    assert there.min() >= -1e-6
    assert (there[:, 2] <= 160.5).all()
    assert (there[:, 3] <= 96.5).all()
    np.testing.assert_allclose(placement.back(there), inside, atol=1e-6 * max(width, height))


def test_boxes_end_at_the_edges_of_their_image() -> None:
    placement = Placement.of((100, 50), (160, 96), letterbox=False)
    np.testing.assert_allclose(placement.back(np.array([[-9.0, -9.0, 500.0, 500.0]])), [[0, 0, 100, 50]])
