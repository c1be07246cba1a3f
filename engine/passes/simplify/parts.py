"""Queries, keys and values that one product makes are slices of its features, however these were counted.

x[.., n*w] ── Reshape[.., n, ..] ── Slice(i : j, axis of n) ── y    =>    x ── Slice(i*w : j*w) ── Reshape ── y

Gather with one constant index alike. Slices of features cost nothing of a panel.
"""

from __future__ import annotations

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op, scalar


def _part(taken: Node, axis: int, first: int, last: int) -> Value | None:
    """Places `first` to `last` of the axis that the features were split by; None if it is another axis."""
    wide = first_input(taken[0])
    if not is_op(wide, "Reshape") or wide.type.shape is None:
        return None
    x, shape = first_input(wide), wide.shape
    count, lead = shape[axis], len(x.type.shape or ()) - 1
    if x.array is not None or lead != axis or x.shape[:-1] != shape[:axis] or len(shape) == axis + 1:
        return None
    width, k = x.shape[-1] // max(count, 1), x.shape[-1]
    if not 0 <= first < last <= count or width * count != k:
        return None
    attrs = {"axes": (axis,), "starts": (first * width,), "ends": (last * width,), "steps": (1,)}
    part = node("Slice", x, name=taken.name, **attrs)[0]
    return node("Reshape", part, name=taken.name, shape=taken.types[0].shape)[0]


@rule("Slice")
def slice_before_split(taken: Node, _uses: Uses) -> Value | None:
    """A slice along one axis."""
    attrs = taken.attrs
    if len(attrs["axes"]) != 1 or tuple(attrs["steps"]) != (1,):
        return None
    return _part(taken, attrs["axes"][0], attrs["starts"][0], attrs["ends"][0])


@rule("Gather")
def gather_before_split(taken: Node, _uses: Uses) -> Value | None:
    """One place."""
    index, axis = scalar(taken.inputs[1]), taken.attrs["axis"]
    wide = first_input(taken[0]).type.shape
    if index is None or wide is None:
        return None
    first = int(index) + (wide[axis] if index < 0 else 0)
    return _part(taken, axis, first, first + 1)


RULES = (slice_before_split, gather_before_split)
