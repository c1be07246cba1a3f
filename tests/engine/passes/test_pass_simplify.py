"""Movement is merged or dropped, and equal nodes are one."""

from __future__ import annotations

import numpy as np
from form_check import check, random
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder

from engine import graph, passes

X = {"x": random(2, 3, 4)}


def fed() -> tuple[ModelBuilder, str]:
    b = ModelBuilder()
    return b, b.input("x", np.float32, (2, 3, 4))


@given(perms=st.lists(st.permutations(range(3)), min_size=1, max_size=5))
def test_transposes_in_a_row_are_at_most_one(perms: list[list[int]]) -> None:
    b, y = fed()
    for perm in perms:
        y = b.op("Transpose", y, perm=list(perm))
    b.output(b.op("Neg", y))
    assert graph.census(check(b, X, exact=True, peer=False))["Transpose"] <= 1


def test_reshapes_in_a_row_are_one() -> None:
    b, x = fed()
    y = b.op("Reshape", b.op("Unsqueeze", b.op("Flatten", x, axis=1), b.ints(0)), b.ints(4, 6))
    b.output(b.op("Neg", y))
    check(b, X, {"Reshape": 1, "Neg": 1}, exact=True)


def test_reshapes_there_and_back_vanish() -> None:
    b, x = fed()
    b.output(b.op("Neg", b.op("Reshape", b.op("Reshape", x, b.ints(6, 4)), b.ints(2, 3, 4))))
    check(b, X, {"Neg": 1}, exact=True)


def test_factors_of_one_vanish() -> None:
    b, x = fed()
    b.output(b.op("Neg", b.op("Div", b.op("Mul", b.number(1), x), b.weight(np.ones(1, np.float32)))))
    check(b, X, {"Neg": 1}, exact=True)


def test_factor_of_one_that_adds_an_axis_stays() -> None:
    b, x = fed()
    b.output(b.op("Mul", x, b.weight(np.ones((1, 1, 1, 1), np.float32))))
    check(b, X, {"Mul": 1}, exact=True)


def test_one_over_x_is_not_x_over_one() -> None:
    b, x = fed()
    b.output(b.op("Div", b.number(1), x))
    check(b, X, {"Div": 1}, exact=True)


def test_equal_nodes_are_one() -> None:
    b, x = fed()
    sums = [b.op("Add", b.op("Sin", x), b.number(2)) for _ in range(3)]
    b.output(b.op("Sum", *sums), b.op("Add", b.op("Sin", x), b.number(3)))
    check(b, X, {"Sin": 1, "Add": 2, "Sum": 1}, exact=True)


def test_model_whose_output_is_its_input_passes() -> None:
    b, x = fed()
    b.output(b.op("Identity", x), b.op("Constant", value_float=2.0))
    check(b, X, {}, exact=True)


def test_every_pass_says_why_it_stands_where_it_does() -> None:
    names = [entry.name for entry in passes.PASSES]
    assert len(set(names)) == len(names)
    assert all(entry.reason for entry in passes.PASSES)
