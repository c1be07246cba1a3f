"""weighted_sum: positions of each sequence added up, from lanes to rows."""

from __future__ import annotations

from engine.graph.ir import Node
from engine.kernels.weighted_sum.rows import FEATURES, SCRATCH, WEIGHTED_SUM, weighted_sum
from engine.lowering.builder import Builder, Lowered, OpLowering, buffers, place_of
from engine.lowering.ops._products import required
from engine.plan.steps import Field, Layer, Record


def _lower(node: Node, builder: Builder) -> Lowered:
    x, weights = builder.panel(required(node, 0)), builder.rows(required(node, 1))
    y, lanes = builder.new_rows(node[0]), x.lanes
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "row_bytes": lanes.row_bytes,
        "k": x.k,
        "w": place_of(weights),
        "y": place_of(y),
        "inner": lanes.inner,
        "pitch": lanes.pitch,
    }
    builder.emit(
        Layer(node.name, node.op, weighted_sum.name),
        weighted_sum,
        Record(WEIGHTED_SUM, fields),
        tiles=lanes.outer * -(-x.k // FEATURES),
        reads=(*x.buffers, *buffers(weights)),
        writes=buffers(y),
        tile_ns=6.0 * lanes.inner,
        scratch=SCRATCH,
    )
    return None


LOWERINGS = (OpLowering("weighted_sum", _lower),)
