"""A sum over positions, each with a weight: mean pooling as exporters write it, and what else looks like it.

    x[b,s,k] ── Mul(w[b,s,1]) ── ReduceSum(s) ── y
    x[b,s,k] ── Where(c[b,s,1], x, 0) ── ReduceSum(s) ── y    =>    x ── weighted_sum(w) ── y
    w[b,1,s] ── MatMul(x[b,s,k]) ── y
    x[b,s,k] ── Transpose[b,k,s] ── MatMul(w[b,s,1]) ── y

Not when another node reads the weighted positions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import either_way, first_input, is_op, is_scalar, operands

# [sequence, position, feature], and the axis that is summed.
RANK, POSITIONS = 3, 1


def _weighted_sum(x: Value, weights: Value, step: Node) -> Value:
    made = node("weighted_sum", x, weights, name=step.name)[0]
    shape = step.types[0].shape
    return made if made.type.shape == shape else node("Reshape", made, name=step.name, shape=shape)[0]


def _fits(x: Value, weights: Value) -> bool:
    """Whether these are activations and a weight for each of their positions."""
    if x.dtype != np.float32 or x.type.shape is None or len(x.shape) != RANK:
        return False
    return weights.dtype == np.float32 and weights.type.shape == (*x.shape[:2], 1)


@rule("ReduceSum")
def sum_of_weighted(step: Node, uses: Uses) -> Value | None:
    """Sums of products, or of chosen positions."""
    each = first_input(step[0])
    if step.attrs["axes"] != (POSITIONS,) or uses[each] != 1:
        return None
    candidates = either_way(each.node) if is_op(each, "Mul") else _chosen(each)
    for x, weights in candidates:
        if _fits(x, weights) and x.type == each.type:
            return _weighted_sum(x, weights, step)
    return None


def _chosen(each: Value) -> Iterator[tuple[Value, Value]]:
    """Activations and weights of 0 and 1 for positions that are taken or replaced by 0."""
    if not is_op(each, "Where"):
        return
    condition, yes, no = (value for value in each.node.inputs if value is not None)
    name, whole = each.node.name, np.dtype(np.float32)
    if is_scalar(no, 0):
        yield yes, node("Cast", condition, name=name, to=whole)[0]
    elif is_scalar(yes, 0):
        yield no, node("Cast", node("Not", condition, name=name)[0], name=name, to=whole)[0]


@rule("MatMul")
def product_with_positions(step: Node, _uses: Uses) -> Value | None:
    """One row of weights times positions, or positions turned round times one column."""
    left, right = operands(step)
    if left.type.shape is None or len(left.shape) != RANK:
        return None
    if is_op(left, "Transpose") and left.node.attrs["perm"] == (0, 2, 1):
        x, weights = first_input(left), right
    else:
        shape = (left.shape[0], left.shape[2], left.shape[1])
        x, weights = right, node("Reshape", left, name=step.name, shape=shape)[0]
    return None if x.array is not None or not _fits(x, weights) else _weighted_sum(x, weights, step)


RULES = (sum_of_weighted, product_with_positions)
