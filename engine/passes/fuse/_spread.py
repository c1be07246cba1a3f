"""The root of a mean of squares over the last axis, in the ways of writing it: what normalisations divide by."""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, constant, node
from engine.graph.pattern import either_way, first_input, is_op, is_private, is_scalar, operands, scalar


def is_mean(value: Value, x: Value) -> bool:
    """Whether `value` is the mean of x over the last axis, which is kept."""
    if not is_op(value, "ReduceMean") or first_input(value) != x:
        return False
    return value.node.attrs["axes"] == (len(x.shape) - 1,) and bool(value.node.attrs["keepdims"])


def _square(value: Value) -> Value | None:
    """d, if `value` is d squared."""
    if is_op(value, "Pow") and is_scalar(value.node.inputs[1], 2):
        return first_input(value)
    if is_op(value, "Mul"):
        first, second = operands(value.node)
        return first if first == second else None
    return None


def spread(value: Value) -> tuple[Value, float] | None:
    """d and epsilon, if `value` is the square root of epsilon plus the mean of d squared."""
    if (is_op(value, "Pow") and is_scalar(value.node.inputs[1], 0.5)) or is_op(value, "Sqrt"):
        inner = first_input(value)
    else:
        return None
    if not is_op(inner, "Add"):
        return None
    for mean, epsilon in either_way(inner.node):
        number = scalar(epsilon)
        d = _square(first_input(mean)) if is_op(mean, "ReduceMean") else None
        if number is not None and d is not None and is_mean(mean, first_input(mean)):
            return d, number
    return None


def inverse_spread(value: Value) -> tuple[Value, float] | None:
    """d and epsilon, if `value` is one over their spread."""
    if is_op(value, "Reciprocal"):
        return spread(first_input(value))
    if is_op(value, "Div") and is_scalar(value.node.inputs[0], 1):
        return spread(operands(value.node)[1])
    if is_op(value, "Pow") and is_scalar(value.node.inputs[1], -0.5):
        root = node("Sqrt", first_input(value))[0]
        return spread(root)
    return None


def is_whole(root: Node, x: Value, uses: Uses) -> bool:
    """Whether `root` is an f32 function of x alone, of x's shape, whose inside nobody else reads."""
    return x.dtype == np.float32 and x.type == root.types[0] and is_private(root, {x}, uses)


def ones(width: int, name: str) -> Value:
    """A gain that changes nothing."""
    return constant(np.ones(width, np.float32), name)
