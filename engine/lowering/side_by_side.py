"""Places for what is joined later: who makes a part writes it where the whole will lie.

    concat_pixels(a, b)              panel of the whole: | rows of a | rows of b |        each a view of it
    Concat(a, b), nothing before     rows of the whole:  a, then b
    its axis but axes of one

A part that is needed in two wholes lies in one of them, and is copied to the other. So are parts whose steps do not ask
for a place, and such as others could write beyond: channels that fill no row of quads, rows that end within a line.
"""

from __future__ import annotations

import math

from engine.graph.ir import Graph, Node, Value
from engine.lowering.builder import Builder
from engine.lowering.panels import QUAD, VECTORS_BEHIND
from engine.plan.steps import Buffer, Location

_LINE = 64


def reserve(graph: Graph, builder: Builder) -> None:
    """Decide the places, the outermost whole first, as the parts of a part lie in it."""
    for node in reversed(list(graph.nodes())):
        if any(kind.shape is None or 0 in kind.shape for kind in node.types):
            continue
        if node.op == "concat_pixels":
            _reserve_channels(node, builder)
        elif node.op == "Concat":
            _reserve_rows(node, builder)


def _reserve_channels(node: Node, builder: Builder) -> None:
    whole = builder.reserved.setdefault(node[0], builder.new_panel(node[0].shape))
    first = 0
    for value in node.inputs:
        if value is None:
            continue
        count = value.shape[-1]
        is_last = first + count == node[0].shape[-1]
        if first % QUAD == 0 and (is_last or count % QUAD == 0) and value.array is None:
            builder.reserved.setdefault(value, whole.rows(first, count))
        first += count


def _made_by_concat(value: Value | None) -> Value | None:
    """The result of a Concat behind reshapes."""
    while value is not None and value.op == "Reshape":
        value = value.node.inputs[0]
    return value if value is not None and value.op == "Concat" else None


def _reserve_rows(node: Node, builder: Builder) -> None:
    shape, item = node[0].shape, node[0].dtype.itemsize
    if math.prod(shape[: node.attrs["axis"]]) != 1 or not any(map(_made_by_concat, node.inputs)):
        return
    size = math.prod(shape) * item
    fresh = Location(Buffer(size + VECTORS_BEHIND))
    place, offset = builder.reserved_rows.setdefault(node[0], fresh), 0
    for value in node.inputs:
        made = _made_by_concat(value)
        if value is None:
            continue
        if made is not None and offset % _LINE == 0:
            builder.reserved_rows.setdefault(made, place.shifted(offset))
        offset += math.prod(value.shape) * item
