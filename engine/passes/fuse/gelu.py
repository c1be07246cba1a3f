"""GELU, in all the ways of writing it.

    x ── Div(1.4142) ── Erf ── Add(1) ── Mul(x) ── Mul(0.5) ── y           =>    x ── gelu ── y
    x ── 0.7978 * (x + 0.0447 x^3) ── Tanh ── Add(1) ── Mul(x) ── Mul(0.5) ── y    =>    x ── gelu(tanh) ── y

The factors come in any order and grouping; the argument of Erf or Tanh is compared as a polynomial in x.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import (
    TOLERANCE,
    either_way,
    find,
    first_input,
    is_op,
    is_private,
    is_scalar,
    polynomial,
    scalar,
)

ARGUMENTS = {
    "Erf": ("none", (0.0, 0.5**0.5, 0.0, 0.0)),
    "Tanh": ("tanh", (0.0, (2 / np.pi) ** 0.5, 0.0, 0.044715 * (2 / np.pi) ** 0.5)),
}


@rule("Mul")
def find_gelu(mul: Node, uses: Uses) -> Value | None:
    """The product of x, a half, and one plus an error function (or its tanh form) of x."""
    gate = find(mul[0], _is_gate, 2)
    if gate is None or gate.dtype != np.float32:
        return None
    factors = _factors(mul[0], gate, 3)
    others = [value for value in factors if value != gate and value.array is None]
    product = np.prod([scalar(value) or 0.0 for value in factors if value.array is not None])
    if len(others) != 1 or factors.count(gate) != 1 or product != 0.5:
        return None
    x, approximate = others[0], _approximation(gate, others[0])
    if approximate is None or x.type != mul.types[0] or not is_private(mul, {x}, uses):
        return None
    return node("gelu", x, name=mul.name, approximate=approximate)[0]


def _is_gate(value: Value) -> bool:
    if not is_op(value, "Add"):
        return False
    return any(is_op(curve, *ARGUMENTS) and is_scalar(one, 1) for curve, one in either_way(value.node))


def _factors(value: Value, gate: Value, depth: int) -> list[Value]:
    """The factors of a product, as far up as the gate may stand; x itself is not taken apart beyond it."""
    if (
        value == gate
        or not is_op(value, "Mul")
        or depth == 0
        or find(value, lambda other: other == gate, depth) is None
    ):
        return _halved(value, depth)
    first, second = next(either_way(value.node))
    return _factors(first, gate, depth - 1) + _factors(second, gate, depth - 1)


def _halved(value: Value, depth: int) -> list[Value]:
    """x * 0.5 as its two factors: the one product beside the gate that belongs to the form."""
    if is_op(value, "Mul") and depth:
        for x, half in either_way(value.node):
            if is_scalar(half, 0.5):
                return [x, half]
    return [value]


def _approximation(gate: Value, x: Value) -> str | None:
    for curve, one in either_way(gate.node):
        if not is_op(curve, *ARGUMENTS) or not is_scalar(one, 1):
            continue
        approximate, wanted = ARGUMENTS[curve.op]
        found = polynomial(first_input(curve), x)
        if found is not None and np.allclose(found, wanted, rtol=TOLERANCE, atol=0.0):
            return approximate
    return None


@rule("Gelu")
def gelu_operator(step: Node, _uses: Uses) -> Value | None:
    """The operator of opset 20."""
    approximate = step.attrs.get("approximate", "none")
    if step.types[0].dtype != np.float32 or approximate not in ("none", "tanh"):
        return None
    return node("gelu", first_input(step[0]), name=step.name, approximate=approximate)[0]


RULES = (find_gelu, gelu_operator)
