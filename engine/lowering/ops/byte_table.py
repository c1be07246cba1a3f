"""byte_table: a panel of quads through a table of 256 bytes."""

from __future__ import annotations

from engine.graph.ir import Node
from engine.kernels.byte_table.rows import BYTE_TABLE, map_bytes
from engine.kernels.layout import quad_rows
from engine.lowering.builder import Builder, Lowered, OpLowering
from engine.lowering.ops._products import keep, required
from engine.plan.steps import Field, Layer, Record, Span


def _lower(node: Node, builder: Builder) -> Lowered:
    if not node[0].shape:
        return "it has no features"
    x, y = builder.quad_panel(required(node, 0)), builder.new_panel(node[0].shape, quads=True)
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "quads": quad_rows(x.k),
        "row_bytes": x.lanes.row_bytes,
        "table": builder.fixed(node.attrs["table"]),
    }
    builder.emit(
        Layer(node.name, node.op, map_bytes.name),
        map_bytes,
        Record(BYTE_TABLE, fields),
        tiles=x.lanes.vectors,
        reads=x.buffers,
        writes=y.buffers,
        tile_ns=1.5 * x.k,
        span=Span(x.lanes, per_vector=1),
    )
    keep(node, builder, y)
    return None


LOWERINGS = (OpLowering("byte_table", _lower),)
