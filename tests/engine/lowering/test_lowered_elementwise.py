"""Elementwise operators on panels and on rows, compared with their meaning in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_lowered_operators import F32, SHAPES, SOURCE, check, compiled, fed, floats

from engine.graph import constant, node


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("other", [(2, 9, 12), (12,), (1,), ()])
@pytest.mark.parametrize("swapped", [False, True])
def test_arithmetic_on_activations(op: str, other: tuple[int, ...], swapped: bool) -> None:
    x, array = fed("x", floats(2, 9, 12))
    activation = node("Tanh", x)[0]
    second = constant(floats(*other) + np.float32(3))
    y = node(op, *((second, activation) if swapped else (activation, second)))[0]
    check([y], {x: array})


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(1, 9, 12), (1, 200, 7), (5, 9, 12), (3, 17, 5), (2, 49, 8), (7, 1, 3)])
@pytest.mark.parametrize("swapped", [False, True])
def test_arithmetic_with_a_computed_row_for_each_sequence(
    op: str, shape: tuple[int, ...], swapped: bool
) -> None:
    x, array = fed("x", floats(*shape))
    g, gate = fed("g", floats(shape[0], 1, shape[2]) + np.float32(3))
    # A product's result: a panel, whose lanes hold one sequence after another.
    options: dict[str, Any] = {"weight_axes": "km", "activation": "none", "store": None}
    product = node("linear", x, constant(np.eye(shape[2], dtype=np.float32)), **options)[0]
    y = node(op, *((g, product) if swapped else (product, g)))[0]
    check([y], {x: array, g: gate}, atol=1e-4)
    _, plan = compiled([y], [x, g])
    kernel = next(layer.kernel for layer in plan.layers if layer.op == op)
    assert kernel.startswith("panel_") is (op in {"Add", "Mul"} or not swapped or shape[1] == 1)


@pytest.mark.parametrize("op", ["Relu", "Tanh", "Sigmoid", "Erf", "Exp", "Abs", "Neg", "Reciprocal"])
@pytest.mark.parametrize("shape", SHAPES)
def test_unary_on_activations(op: str, shape: tuple[int, ...]) -> None:
    x, array = fed("x", floats(*shape))
    check([node(op, x)[0]], {x: array}, atol=1e-6)


CASTS = [(np.int64, np.float32), (np.int64, np.bool_), (np.float32, np.int64), (np.bool_, np.float32)]
BROADCASTS = [
    ((2, 3, 4), (4,)),
    ((2, 1, 4), (3, 1)),
    ((1,), (2, 5)),
    ((), (3,)),
    ((2, 1, 1, 1, 2, 3), (2, 3)),
]


@pytest.mark.parametrize("kinds", CASTS)
def test_cast(kinds: tuple[Any, Any]) -> None:
    x, array = fed("x", (SOURCE.integers(-2, 3, (3, 1, 5))).astype(kinds[0]))
    check([node("Cast", x, to=np.dtype(kinds[1]))[0]], {x: array}, atol=0)


@pytest.mark.parametrize("shapes", BROADCASTS)
def test_rows_broadcast(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, first = fed("a", SOURCE.integers(-5, 5, shapes[0]))
    b, second = fed("b", SOURCE.integers(-5, 5, shapes[1]))
    larger = node("Greater", a, b)[0]
    check([node("Add", a, b)[0], larger, node("Where", larger, a, b)[0]], {a: first, b: second}, atol=0)


def test_mask_arithmetic_of_an_exported_encoder_is_compiled() -> None:
    mask, array = fed("mask", SOURCE.integers(0, 2, (3, 9)))
    wide = node("Reshape", mask, shape=(3, 1, 1, 9))[0]
    inverted = node("Sub", constant(np.asarray(1, np.float32)), node("Cast", wide, to=F32)[0])[0]
    check([node("Mul", inverted, constant(np.asarray(-10000, np.float32)))[0]], {mask: array}, atol=0)
