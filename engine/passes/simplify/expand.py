"""Copies are made as late as can be, or never: what is done to each copy is done once.

m[b,s,1] ── Expand[b,s,k] ── Cast ── y           =>    m ── Cast ── Expand ── y
m[b,s,1] ── Expand[b,s,k] ── Mul(x[b,s,k]) ── y  =>    m ── Mul(x) ── y
m[b,s,1] ── Expand[b,s,k] ── ReduceSum(s) ── y   =>    m ── ReduceSum(s) ── Expand ── y
"""

from __future__ import annotations

import numpy as np

from engine.graph import OPS, Node, Uses, Value, node, rule
from engine.graph.ops.reduction import REDUCTIONS
from engine.graph.pattern import first_input, is_op

ELEMENTWISE = tuple(sorted(name for name, row in OPS.items() if row.elementwise))


@rule(*ELEMENTWISE)
def compute_before_expanding(step: Node, _uses: Uses) -> Value | None:
    """Read what an expansion reads; expand the result where it has come out smaller."""
    if step.types[0].shape is None or not any(is_op(value, "Expand") for value in step.inputs):
        return None
    inputs = [first_input(value) if is_op(value, "Expand") else value for value in step.inputs if value]
    if any(value.type.shape is None for value in inputs):
        return None
    made = node(step.op, *inputs, name=step.name, **step.attrs)[0]
    return _expanded(made, step)


@rule(*sorted(REDUCTIONS))
def reduce_before_expanding(step: Node, _uses: Uses) -> Value | None:
    """Reduce along axes that an expansion has not touched before it."""
    whole = first_input(step[0])
    if not is_op(whole, "Expand") or whole.type.shape is None:
        return None
    x = first_input(whole)
    added = len(whole.shape) - len(x.shape)
    axes = [axis - added for axis in step.attrs["axes"]]
    if any(axis < 0 or x.shape[axis] != whole.shape[axis + added] for axis in axes):
        return None
    # One array of the expanded axes is as good as all; those in front of x's own are put back by the expansion.
    keeps = node(step.op, x, name=step.name, axes=tuple(axes), keepdims=1)[0]
    kept = tuple(size for axis, size in enumerate(keeps.shape) if step.attrs["keepdims"] or axis not in axes)
    return _expanded(node("Reshape", keeps, name=step.name, shape=kept)[0], step)


@rule("Expand")
def merge_expansions(step: Node, _uses: Uses) -> Value | None:
    """Two expansions are one, and one to the same shape is none."""
    x = first_input(step[0])
    if x.type == step.types[0]:
        return x
    return _expanded(first_input(x), step) if is_op(x, "Expand") else None


def _expanded(value: Value, step: Node) -> Value:
    shape = step.types[0].shape or ()
    if value.shape == shape:
        return value
    return node("Expand", value, name=step.name, shape=np.broadcast_shapes(value.shape, shape))[0]


RULES = (compute_before_expanding, reduce_before_expanding, merge_expansions)
