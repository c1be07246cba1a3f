"""weighted_sum: positions of each sequence added up, from lanes to rows."""

from __future__ import annotations

from engine.graph.ir import Node, Value
from engine.kernels.weighted_sum.rows import FEATURES, SCRATCH, WEIGHTED_SUM, weighted_sum
from engine.lowering.builder import Builder, Lowered, OpLowering, buffers, place_of
from engine.lowering.ops._products import required
from engine.plan.steps import Field, Layer, Record


def sum_positions(node: Node, builder: Builder, weights: Value | None, divisor: int = 1) -> None:
    """The step for input 0 [b, s, k]: sums over s, over a divisor."""
    x = builder.panel(required(node, 0))
    w = None if weights is None else builder.rows(weights)
    y, lanes = builder.new_rows(node[0]), x.lanes
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "row_bytes": lanes.row_bytes,
        "k": x.k,
        "w": 0 if w is None else place_of(w),
        "divisor": float(divisor),
        "y": place_of(y),
        "inner": lanes.inner,
        "pitch": lanes.pitch,
    }
    builder.emit(
        Layer(node.name, node.op, weighted_sum.name),
        weighted_sum,
        Record(WEIGHTED_SUM, fields),
        tiles=lanes.outer * -(-x.k // FEATURES),
        reads=(*x.buffers, *(() if w is None else buffers(w))),
        writes=buffers(y),
        tile_ns=6.0 * lanes.inner,
        scratch=SCRATCH,
    )


def _lower(node: Node, builder: Builder) -> Lowered:
    sum_positions(node, builder, required(node, 1))
    return None


LOWERINGS = (OpLowering("weighted_sum", _lower),)
