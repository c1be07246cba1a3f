"""concat_pixels: rows of one panel. What did not come to lie there by itself (side_by_side.py) is copied."""

from __future__ import annotations

from engine.graph.ir import Node
from engine.lowering.builder import F32, Builder, Lowered, OpLowering, Strided
from engine.lowering.ops.plain_movement import copied
from engine.lowering.panels import Panel
from engine.plan.steps import Tensor


def _rows_of(panel: Panel) -> Strided:
    """The rows of each panel, which lie together."""
    return Strided(Tensor(F32, None, panel.location), 0, (panel.panel_bytes, F32.itemsize))


def _concat_pixels(node: Node, builder: Builder) -> Lowered:
    y, first = builder.result(node[0]), 0
    for value in node.inputs:
        if value is None:
            continue
        count = value.shape[-1]
        part, place = builder.panel(value), y.rows(first, count)
        if part.location != place.location:
            shape = (y.lanes.panels, count * y.lanes.width)
            copied(node, builder, _rows_of(part), _rows_of(place), shape)
        first += count
    builder.panels[node[0]] = y
    return None


LOWERINGS = (OpLowering("concat_pixels", _concat_pixels),)
