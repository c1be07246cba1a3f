"""Layer normalisation over the last axis, in all the ways of writing it.

    x ─┬─ ReduceMean ─┐
       └──────────── Sub ─┬─ Pow(2) ── ReduceMean ── Add(eps) ── Sqrt ─┐
                          └────────────────────────────────────────── Div ── Mul(g) ── Add(b) ── y

    =>   x ── layer_norm(g, b, eps) ── y

First the normalised rows are found, then gain and bias join them.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import (
    either_way,
    first_input,
    is_op,
    operands,
    row_constant,
)
from engine.passes.fuse._spread import inverse_spread, is_mean, is_whole, ones, spread


def _layer_norm(x: Value, gain: Value | None, bias: Value | None, epsilon: float, name: str) -> Value:
    return node("layer_norm", x, gain, bias, name=name, epsilon=epsilon, quantize=None, rounded=False)[0]


def _deviation(value: Value) -> Value | None:
    """x, if `value` is x minus its mean over the last axis."""
    if not is_op(value, "Sub"):
        return None
    x, mean = operands(value.node)
    return x if is_mean(mean, x) else None


def _spread_of(found: tuple[Value, float] | None) -> tuple[Value, float] | None:
    """x and epsilon, if what a spread is of is x minus its mean."""
    x = None if found is None else _deviation(found[0])
    return None if x is None or found is None else (x, found[1])


@rule("Div")
def normalised_quotient(div: Node, uses: Uses) -> Value | None:
    """The deviation from the mean over the spread."""
    deviation, divisor = operands(div)
    return _normalised(div, deviation, _spread_of(spread(divisor)), uses)


@rule("Mul")
def normalised_product(mul: Node, uses: Uses) -> Value | None:
    """The deviation times one over the spread."""
    for deviation, factor in either_way(mul):
        found = _normalised(mul, deviation, _spread_of(inverse_spread(factor)), uses)
        if found is not None:
            return found
    return None


def _normalised(root: Node, deviation: Value, found: tuple[Value, float] | None, uses: Uses) -> Value | None:
    x = _deviation(deviation)
    if x is None or found is None or found[0] != x or not is_whole(root, x, uses):
        return None
    return _layer_norm(x, ones(x.shape[-1], root.name), None, found[1], root.name)


@rule("Add")
def rearranged(add: Node, uses: Uses) -> Value | None:
    """TensorFlow's arrangement: x * r + (b - mean * r) with r = g / spread."""
    for scaled, shift in either_way(add):
        if not is_op(scaled, "Mul") or not is_op(shift, "Sub"):
            continue
        bias, shifted = operands(shift.node)
        if not is_op(shifted, "Mul"):
            continue
        for x, factor in either_way(scaled.node):
            found = _rearranged(add, x, factor, (bias, shifted), uses)
            if found is not None:
                return found
    return None


def _rearranged(add: Node, x: Value, factor: Value, shift: tuple[Value, Value], uses: Uses) -> Value | None:
    bias, shifted = shift
    if x.type.shape is None or not any(is_mean(m, x) and r == factor for m, r in either_way(shifted.node)):
        return None
    if not is_op(factor, "Mul"):
        return None
    for inverse, gain in either_way(factor.node):
        found, row = _spread_of(inverse_spread(inverse)), row_constant(gain, x.shape[-1])
        offset = row_constant(bias, x.shape[-1])
        if found is None or found[0] != x or row is None or offset is None or not is_whole(add, x, uses):
            continue
        return _layer_norm(x, constant(row, add.name), constant(offset, add.name), found[1], add.name)
    return None


@rule("Mul")
def take_gain(mul: Node, uses: Uses) -> Value | None:
    """A row constant behind normalised rows is the gain."""
    for rows, factor in either_way(mul):
        if not _is_bare(rows, uses) or rows.type != mul.types[0]:
            continue
        row = row_constant(factor, rows.shape[-1])
        gain = rows.node.inputs[1]
        if row is not None and gain is not None and gain.array is not None and np.all(gain.array == 1):
            factors = constant(row, mul.name)
            return node("layer_norm", first_input(rows), factors, name=mul.name, **rows.node.attrs)[0]
    return None


@rule("Add")
def take_bias(add: Node, uses: Uses) -> Value | None:
    """A row constant added to normalised rows is the bias."""
    for rows, addend in either_way(add):
        if not _is_bare(rows, uses) or rows.type != add.types[0]:
            continue
        row = row_constant(addend, rows.shape[-1])
        if row is not None:
            inputs = (*rows.node.inputs, constant(row, add.name))
            return node("layer_norm", *inputs, name=add.name, **rows.node.attrs)[0]
    return None


def _is_bare(rows: Value, uses: Uses) -> bool:
    """Whether `rows` are normalised, not yet shifted, and read once."""
    if not is_op(rows, "layer_norm") or uses[rows] != 1 or len(rows.node.inputs) > 2:
        return False
    return rows.node.attrs["quantize"] is None and "heads" not in rows.node.attrs


@rule("LayerNormalization")
def layer_norm_operator(step: Node, _uses: Uses) -> Value | None:
    """The operator of opset 17, over the last axis and with constant gain and bias."""
    x, rank = first_input(step[0]), len(step.types[0].shape or ())
    if len(step.types) > 1 or x.dtype != np.float32 or step.attrs["axis"] != rank - 1:
        return None
    parameters = [value for value in step.inputs[1:] if value is not None]
    if any(value.array is None or value.shape != x.shape[-1:] for value in parameters):
        return None
    bias = parameters[1] if len(parameters) > 1 else None
    return _layer_norm(x, parameters[0], bias, step.attrs["epsilon"], step.name)


RULES = (
    normalised_quotient,
    normalised_product,
    rearranged,
    take_gain,
    take_bias,
    layer_norm_operator,
)
