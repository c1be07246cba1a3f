"""Rows of a table, and the sum of several of them.

ids ── Gather(E) ── y                                   =>    ids ── embedding(E) ── y
embedding(word) ── Add ── y,  embedding(place) ──┘    =>    embedding(place, residual = embedding(word)) ── y
embedding(word) ── Add(constant [1, s, k]) ── y         =>    embedding(0 .. s-1, residual = embedding(word)) ── y
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import either_way, first_input, is_op


@rule("Gather")
def gather_rows(gather: Node, _uses: Uses) -> Value | None:
    """A look-up of rows in a constant f32 matrix."""
    table, ids = first_input(gather[0]), gather.inputs[1]
    if table.array is None or table.dtype != np.float32 or len(table.shape) != 2 or gather.attrs["axis"] != 0:
        return None
    if ids is None or ids.type.shape is None:
        return None
    return node("embedding", ids, table, name=gather.name, quantisation=None)[0]


@rule("Add")
def add_to_embedding(add: Node, uses: Uses) -> Value | None:
    """What is added to rows of a table becomes the look-up's residual.

    The residual must have the sum's shape: of two look-ups the one that is broadcast takes the other in.
    """
    for rows, addend in either_way(add):
        if (
            not is_op(rows, "embedding")
            or uses[rows] != 1
            or len(rows.node.inputs) > 2
            or rows.type.shape is None
        ):
            continue
        if addend.type == add.types[0] and addend.array is None and addend != rows:
            return node("embedding", *rows.node.inputs, addend, name=rows.node.name, **rows.node.attrs)[0]
    return None


@rule("Add")
def add_constant_rows(add: Node, uses: Uses) -> Value | None:
    """Rows that were computed ahead (positions, say) are a table of their own, read in order."""
    for rows, addend in either_way(add):
        array = addend.array
        if not is_op(rows, "embedding") or uses[rows] != 1 or rows.type != add.types[0]:
            continue
        shape = rows.type.shape or ()
        if array is None or len(shape) < 2 or array.shape != (*[1] * (array.ndim - 2), *shape[-2:]):
            continue
        ids = constant(np.arange(shape[-2]).reshape(*[1] * (len(shape) - 2), shape[-2]))
        table = constant(np.ascontiguousarray(array.reshape(shape[-2:])))
        return node("embedding", ids, table, rows, name=add.name, quantisation=None)[0]
    return None


RULES = (gather_rows, add_to_embedding, add_constant_rows)
