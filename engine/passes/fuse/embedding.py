"""Rows of a table, and the sum of several of them.

ids ── Gather(E) ── y                                   =>    ids ── embedding(E) ── y
embedding(word) ── Add ── y,  embedding(place) ──┘    =>    embedding(place, residual = embedding(word)) ── y
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
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


RULES = (gather_rows, add_to_embedding)
