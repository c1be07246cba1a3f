"""The matchers that rules are written with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import graph
from engine.graph import Value, pattern

F32 = np.dtype(np.float32)


def number(value: float) -> Value:
    return graph.constant(np.asarray(value, np.float32))


def op(kind: str, *inputs: Value) -> Value:
    return graph.node(kind, *inputs)[0]


X = graph.graph_input("x", F32, (2, 3))
Z = graph.graph_input("z", F32, (2, 3))


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (op("Mul", number(2), X), (0, 2, 0, 0)),
        (op("Add", op("Mul", X, X), op("Div", X, number(4))), (0, 0.25, 1, 0)),
        (op("Sub", number(1), op("Pow", X, number(3))), (1, 0, 0, -1)),
        (op("Neg", op("Mul", op("Add", X, number(1)), op("Sub", X, number(1)))), (1, 0, -1, 0)),
        (op("Mul", op("Mul", X, X), op("Mul", X, X)), None),
        (op("Div", number(1), X), None),
        (op("Sin", X), None),
        (op("Add", X, Z), None),
        (op("Pow", X, number(0.5)), None),
        (op("Div", X, number(0)), None),
    ],
)
def test_polynomials_are_read(value: Value, wanted: tuple[float, ...] | None) -> None:
    found = pattern.polynomial(value, X)
    assert (found is None) == (wanted is None)
    if found is not None and wanted is not None:
        assert found == pytest.approx(wanted)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=3))
def test_polynomial_of_a_product_of_roots_is_its_value(roots: list[int]) -> None:
    value = op("Sub", X, number(roots[0]))
    for root in roots[1:]:
        value = op("Mul", value, op("Sub", X, number(root)))
    found = pattern.polynomial(value, X)
    assert found is not None
    for point in (-1.5, 0.0, 2.0):
        assert np.polynomial.polynomial.polyval(point, np.array(found)) == pytest.approx(
            float(np.prod([point - root for root in roots]))
        )


def test_private_interior() -> None:
    inner = op("Sin", X)
    root = op("Mul", inner, inner)
    assert pattern.is_private(root.node, {X}, graph.Graph((X,), (root,), ("y",)).uses())
    both = graph.Graph((X,), (root, inner), ("y", "s"))
    assert not pattern.is_private(root.node, {X}, both.uses())
    read = graph.Graph((X,), (root, op("Neg", inner)), ("y", "n"))
    assert not pattern.is_private(root.node, {X}, read.uses())


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.array([1, 2, 3], np.float32), [1, 2, 3]),
        (np.array([[[1, 2, 3]]], np.float32), [1, 2, 3]),
        (np.asarray(2, np.float32), [2, 2, 2]),
        (np.array([2], np.float32), [2, 2, 2]),
        (np.array([[1], [2], [3]], np.float32), None),
        (np.array([1, 2], np.float32), None),
        (np.array([1, 2, 3], np.int64), None),
        (np.array([1, 2, 3], np.float64), None),
    ],
)
def test_row_constants(array: np.ndarray, wanted: list[float] | None) -> None:
    found = pattern.row_constant(graph.constant(array), 3)
    assert (None if found is None else found.tolist()) == wanted


def test_constants_are_compared_by_value() -> None:
    assert pattern.is_scalar(graph.constant(np.array([[1.41421]], np.float32)), 2**0.5, pattern.TOLERANCE)
    assert not pattern.is_scalar(number(1.41421), 2**0.5)
    assert not pattern.is_scalar(number(0.7), 0.7978, pattern.TOLERANCE)
    assert not pattern.is_scalar(X, 1)
    assert not pattern.is_scalar(None, 1)


def test_operand_that_a_constant_would_widen_is_no_match() -> None:
    assert pattern.with_scalar(op("Mul", number(2), X).node) == (X, 2.0)
    assert pattern.with_scalar(op("Mul", X, graph.constant(np.ones((1, 1, 1), np.float32))).node) is None
