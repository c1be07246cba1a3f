"""Windows of an image, shifted or not, and the way back are one step that takes positions."""

from __future__ import annotations

import numpy as np
import pytest
from form_check import check
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder

from engine import graph

K = 5


class Windows:
    """Writes what exporters write: an image [b, rows * columns, K] and its windows of `size` times `size`."""

    def __init__(self, batch: int, rows: int, columns: int, size: int) -> None:
        self.b = ModelBuilder()
        self.batch, self.rows, self.columns, self.size = batch, rows, columns, size
        self.x = self.b.input("x", np.float32, (batch, rows * columns, K))
        self.feed = np.random.default_rng(0).standard_normal((batch, rows * columns, K)).astype(np.float32)

    def reshape(self, x: str, *shape: int) -> str:
        return self.b.op("Reshape", x, self.b.weight(np.asarray(shape, np.int64)))

    def image(self, x: str) -> str:
        return self.reshape(x, self.batch, self.rows, self.columns, K)

    def rolled(self, x: str, by: int, axis: int) -> str:
        size = (self.rows, self.columns)[axis - 1]
        ends = [self.b.weight(np.asarray([end], np.int64)) for end in (0, by, size, axis)]
        first = self.b.op("Slice", x, ends[1], ends[2], ends[3])
        last = self.b.op("Slice", x, ends[0], ends[1], ends[3])
        return self.b.op("Concat", first, last, axis=axis)

    def cut(self, x: str) -> str:
        down, across = self.rows // self.size, self.columns // self.size
        y = self.reshape(x, self.batch, down, self.size, across, self.size, K)
        return self.reshape(self.b.op("Transpose", y, perm=[0, 1, 3, 2, 4, 5]), -1, self.size**2, K)

    def joined(self, y: str) -> str:
        down, across = self.rows // self.size, self.columns // self.size
        x = self.reshape(y, self.batch, down, across, self.size, self.size, K)
        x = self.b.op("Transpose", x, perm=[0, 1, 3, 2, 4, 5])
        return self.reshape(x, self.batch, self.rows, self.columns, K)

    def checked(self, y: str, expected: dict[str, int]) -> None:
        self.b.output(y)
        found = check(self.b, {"x": self.feed}, exact=True)
        census = graph.census(found)
        assert {op: census[op] for op in expected} == expected, graph.show(found)


@given(
    batch=st.integers(1, 3),
    counts=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    size=st.integers(2, 4),
    shift=st.integers(0, 1),
)
def test_windows_are_one_step_and_so_is_the_way_back(
    batch: int, counts: tuple[int, int], size: int, shift: int
) -> None:
    w = Windows(batch, counts[0] * size, counts[1] * size, size)
    x = w.image(w.x)
    for axis in (1, 2) if shift else ():
        x = w.rolled(x, size // 2, axis)
    y = w.image(w.joined(w.b.op("Relu", w.cut(x))))
    for axis in (1, 2) if shift else ():
        y = w.rolled(y, (w.rows, w.columns)[axis - 1] - size // 2, axis)
    moved = int(counts[1] > 1 or bool(shift))
    back = w.reshape(y, batch, w.rows * w.columns, K)
    w.checked(w.b.op("Neg", back), {"take_positions": 2 * moved, "Transpose": 0, "Concat": 0, "Slice": 0})


def test_windows_that_lie_in_order_are_not_moved() -> None:
    w = Windows(2, 3, 3, 3)
    w.checked(w.b.op("Neg", w.cut(w.image(w.x))), {"take_positions": 0, "Transpose": 0, "Neg": 1})


def test_windows_and_back_again_are_nothing() -> None:
    w = Windows(2, 4, 6, 2)
    same = w.reshape(w.joined(w.cut(w.image(w.x))), 2, 24, K)
    w.checked(w.b.op("Neg", same), {"take_positions": 0, "Transpose": 0, "Neg": 1})


@pytest.mark.parametrize("perm", [[0, 1, 3, 2, 5, 4], [0, 1, 5, 2, 4, 3]])
def test_moves_of_features_stay(perm: list[int]) -> None:
    w = Windows(1, 4, 4, 2)
    y = w.b.op("Transpose", w.reshape(w.image(w.x), 1, 2, 2, 2, 2, K), perm=perm)
    w.checked(w.b.op("Neg", w.reshape(y, -1, 4, K)), {"take_positions": 0, "Transpose": 1})


def test_parts_of_different_images_are_joined_as_they_are() -> None:
    w = Windows(1, 4, 4, 2)
    x = w.image(w.x)
    other = w.b.op("Concat", x, w.b.op("Neg", x), axis=1)
    y = w.reshape(other, 1, 4, 2, 2, 2, K)
    y = w.reshape(w.b.op("Transpose", y, perm=[0, 1, 3, 2, 4, 5]), -1, 4, K)
    w.checked(w.b.op("Neg", y), {"Concat": 1, "take_positions": 1})


def test_some_of_the_positions_are_taken() -> None:
    w = Windows(1, 4, 4, 2)
    y = w.cut(w.image(w.x))
    starts, ends, axes = (w.b.weight(np.asarray([n], np.int64)) for n in (1, 3, 0))
    w.checked(
        w.b.op("Neg", w.reshape(w.b.op("Slice", y, starts, ends, axes), 2, 2, 2, K)),
        {"take_positions": 1, "Slice": 0},
    )


def test_windows_of_a_part_do_not_make_windows_of_the_whole() -> None:
    w = Windows(1, 4, 4, 2)
    joined = w.b.op("Concat", w.b.op("Neg", w.x), w.reshape(w.cut(w.image(w.x)), 1, 16, K), axis=1)
    y = w.b.op("Transpose", w.reshape(joined, 1, 4, 8, K), perm=[0, 2, 1, 3])
    w.checked(w.b.op("Neg", w.reshape(y, 1, 32, K)), {"take_positions": 1, "Transpose": 1})


def test_many_turns_are_followed_once_each() -> None:
    w = Windows(1, 4, 4, 2)
    x = w.image(w.x)
    for turn in range(40):
        x = w.rolled(x, 1, 1 + turn % 2)
    w.checked(w.b.op("Neg", w.cut(x)), {"take_positions": 1, "Concat": 0, "Transpose": 0})
