"""rotary: one step, panel by panel and head by head."""

from __future__ import annotations

from engine.graph.ir import Node
from engine.kernels.rotary.rows import ROTARY, rotate
from engine.lowering.builder import Builder, Lowered, OpLowering
from engine.lowering.ops._products import required
from engine.plan.steps import Field, Layer, Record, Span


def _rotary(node: Node, builder: Builder) -> Lowered:
    x, cos, sin = (builder.panel(required(node, place)) for place in range(3))
    y, heads = builder.new_panel(node[0].shape), node.attrs["heads"]
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "cos": cos.location,
        "sin": sin.location,
        "angles_panel": cos.panel_bytes,
        "row_bytes": x.lanes.row_bytes,
        "heads": heads,
        "half": cos.k // 2,
        "inner": x.lanes.inner,
        "pitch": x.lanes.pitch,
    }
    builder.emit(
        Layer(node.name, node.op, rotate.name),
        rotate,
        Record(ROTARY, fields),
        tiles=x.lanes.panels * heads,
        reads=(*x.buffers, *cos.buffers, *sin.buffers),
        writes=y.buffers,
        tile_ns=0.15 * cos.k * x.lanes.width,
        span=Span(x.lanes, per_panel=heads),
    )
    builder.panels[node[0]] = y
    return None


LOWERINGS = (OpLowering("rotary", _rotary),)
