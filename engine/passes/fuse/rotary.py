"""Rotary position embeddings before the heads are split.

    x[b,s,h*d] ── Reshape ── Transpose ── t[b,h,s,d] ─┬─ Mul(cos) ─────────────────────────────────┐
                                                      ├─ Slice(second half) ── Neg ── Concat ── Mul(sin) ── Add ── y
                                                      └─ Slice(first half) ───────────┘

    =>   x ── rotary(cos, sin) ── Reshape ── Transpose ── y

So attention finds its heads. cos and sin are [1 or b, 1, s, d].
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import either_way, first_input, is_op, is_private
from engine.passes.fuse._heads import ROWS

# Angles are the same for all layers, and panels of constants are found by the identity of the array.
_angles: WeakKeyDictionary[Node, dict[int, Value]] = WeakKeyDictionary()


def _is_half(value: Value, x: Value, which: int) -> bool:
    """Whether `value` is the first (0) or second (1) half of x's features."""
    if not is_op(value, "Slice") or first_input(value) != x:
        return False
    half, attrs = x.shape[-1] // 2, value.node.attrs
    places = (tuple(attrs[name]) for name in ("axes", "starts", "ends", "steps"))
    return tuple(places) == ((len(x.shape) - 1,), (which * half,), ((which + 1) * half,), (1,))


def _turned(value: Value, x: Value) -> bool:
    """Whether `value` is x with its second half, negated, before its first."""
    if not is_op(value, "Concat") or len(value.node.inputs) != 2:
        return False
    second, first = value.node.inputs
    if first is None or second is None or value.node.attrs["axis"] != len(x.shape) - 1:
        return False
    return is_op(second, "Neg") and _is_half(first_input(second), x, 1) and _is_half(first, x, 0)


def _rows_of(value: Value, x: Value, name: str) -> Value | None:
    """cos or sin as [b, s, d], for x [b, h, s, d]."""
    batch, _, length, depth = x.shape
    if value.dtype != np.float32 or value.type.shape not in (
        (1, 1, length, depth),
        (batch, 1, length, depth),
    ):
        return None
    own = value.shape[0]
    if value.array is not None:
        known = _angles.setdefault(value.node, {})
        if batch not in known:
            array = np.broadcast_to(value.array.reshape(own, length, depth), (batch, length, depth))
            known[batch] = constant(np.ascontiguousarray(array), value.node.name)
        return known[batch]
    rows = node("Reshape", value, name=name, shape=(own, length, depth))[0]
    return rows if own == batch else node("Expand", rows, name=name, shape=(batch, length, depth))[0]


def _joined(x: Value, name: str) -> Value | None:
    """x [b, h, s, d] as it was before its heads were split, [b, s, h*d]."""
    if not is_op(x, "Transpose") or tuple(x.node.attrs["perm"]) != ROWS:
        return None
    split, (batch, heads, length, depth) = first_input(x), x.shape
    shape = (batch, length, heads * depth)
    if is_op(split, "Reshape") and first_input(split).type.shape == shape:
        return first_input(split)
    return node("Reshape", split, name=name, shape=shape)[0]


@rule("Add")
def rotate_before_split(add: Node, uses: Uses) -> Value | None:
    """Turn the features of each head where positions are lanes."""
    for direct, across in either_way(add):
        if not (is_op(direct, "Mul") and is_op(across, "Mul")):
            continue
        for x, cos in either_way(direct.node):
            for turned, sin in either_way(across.node):
                found = _rotated(add, x, (turned, cos, sin), uses)
                if found is not None:
                    return found
    return None


def _rotated(add: Node, x: Value, parts: tuple[Value, Value, Value], uses: Uses) -> Value | None:
    turned, cos, sin = parts
    if x.dtype != np.float32 or x.type != add.types[0] or len(x.shape) != 4 or x.shape[-1] % 2:
        return None
    if not _turned(turned, x) or not is_private(add, {x, cos, sin}, uses):
        return None
    name, (batch, heads, length, depth) = add.name, x.shape
    source, angles = _joined(x, name), [_rows_of(value, x, name) for value in (cos, sin)]
    if source is None or any(value is None for value in angles):
        return None
    y = node("rotary", source, *angles, name=name, heads=heads)[0]
    split = node("Reshape", y, name=name, shape=(batch, length, heads, depth))[0]
    return node("Transpose", split, name=name, perm=ROWS)[0]


RULES = (rotate_before_split,)
