"""Heads keep an axis of their own, also where a batched product of three axes was written.

x[b,h,s,d] ── Reshape[b*h,s,d] ── f ── y    =>    x[b,h,s,d] ── f ── Reshape[b*h,..] ── y

f computes for each head alone: products, what is done to their elements, a softmax over the last axis, elements
gathered along it, the last two axes swapped. Its other operands are joined likewise, or constants.
"""

from __future__ import annotations

import math
from typing import Any

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import first_input, is_op

_OPS = ("Add", "Div", "GatherElements", "MatMul", "Mul", "Softmax", "Transpose")


def _axes(value: Value | None) -> tuple[int, int] | None:
    """b and h, if `value` is some [b, h, s, d] as [b * h, s, d]."""
    if not is_op(value, "Reshape") or value is None or len(value.shape) != 3:
        return None
    shape = first_input(value).type.shape
    if shape is None or len(shape) != 4 or value.shape != (shape[0] * shape[1], *shape[2:]):
        return None
    return shape[0], shape[1]


def _split(value: Value | None, axes: tuple[int, int]) -> Value | None:
    """An operand with b and h apart; None if it is neither joined like the others nor a constant."""
    if value is None:
        return None
    if _axes(value) == axes:
        return first_input(value)
    if value.array is None or len(value.shape) > 3:
        return None
    if len(value.shape) < 3:
        return value
    if value.shape[0] not in (1, math.prod(axes)):
        return None
    leading = (1, 1) if value.shape[0] == 1 else axes
    return constant(value.array.reshape(*leading, *value.shape[1:]), value.node.name)


def _attributes(found: Node) -> dict[str, Any] | None:
    """The same attributes for four axes; None where the node does not compute for each head alone."""
    attrs = found.attrs
    if found.op == "Transpose":
        return {"perm": (0, 1, 3, 2)} if tuple(attrs["perm"]) == (0, 2, 1) else None
    if found.op in ("Softmax", "GatherElements"):
        return {**attrs, "axis": 3} if attrs["axis"] == 2 else None
    return dict(attrs)


@rule(*_OPS)
def split_batch(found: Node, _uses: Uses) -> Value | None:
    """Compute with four axes, and join the first two behind it."""
    known = {_axes(value) for value in found.inputs} - {None}
    axes = next(iter(known)) if len(known) == 1 else None
    shape, attrs = found.types[0].shape, _attributes(found)
    if axes is None or attrs is None or shape is None or len(shape) != 3 or shape[0] != math.prod(axes):
        return None
    values = [_split(value, axes) for value in found.inputs]
    if any(value is None for value in values):
        return None
    wide = node(found.op, *values, name=found.name, **attrs)[0]
    return node("Reshape", wide, name=found.name, shape=shape)[0]


RULES = (split_batch,)
