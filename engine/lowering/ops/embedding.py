"""embedding: table rows to panel columns, dequantised and added to what stands before."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from engine.graph.ir import Node
from engine.kernels.embedding.rows import EMBEDDING, KERNELS, SCRATCH
from engine.lowering.builder import Builder, Lowered, OpLowering, buffers, lane_fields, place_of
from engine.lowering.ops._products import optional, required
from engine.plan.steps import Buffer, Field, Layer, Location, Record, Span


def _strides(ids_shape: tuple[int, ...], leading: tuple[int, ...], size: int) -> tuple[int, int] | None:
    """Bytes from one sequence's ids to the next's, and from one position's to the next's; 0 repeats."""
    shape = (1,) * (len(leading) - len(ids_shape)) + ids_shape
    strides = np.broadcast_to(np.zeros(shape, np.dtype(f"V{size}")), leading).strides
    if not leading:
        return 0, 0
    if len(leading) == 1:
        return 0, strides[0]
    outer = [(n, s) for n, s in zip(leading[:-1], strides[:-1], strict=True) if n > 1]
    for (_, wide), (count, narrow) in pairwise(outer):
        if wide != count * narrow:
            return None
    return (outer[-1][1] if outer else 0), strides[-1]


def _lower(node: Node, builder: Builder) -> Lowered:
    ids, table, residual = required(node, 0), required(node, 1).array, optional(node, 2)
    if table is None or table.ndim != 2 or table.dtype not in KERNELS:
        return "its table is not a constant float32 or 8-bit matrix"
    shape = node[0].shape
    strides = _strides(ids.shape, shape[:-1], ids.dtype.itemsize)
    if strides is None:
        return "its ids repeat along an inner axis only"
    tensor, y = builder.rows(ids), builder.new_panel(shape)
    scale, zero_point = node.attrs["quantisation"] or (1.0, 0)
    reads: list[Buffer] = [*buffers(tensor)]
    fields: dict[str, Field | Record] = {
        "ids": place_of(tensor),
        "id_bytes": ids.dtype.itemsize,
        "id_outer": strides[0],
        "id_inner": strides[1],
        "table": builder.table(table),
        "table_rows": table.shape[0],
        "k": table.shape[1],
        "zero_point": int(zero_point),
        "scale": float(scale),
        "y": y.location,
        "y_panel": y.panel_bytes,
        "row_bytes": y.lanes.row_bytes,
        "fault": Location(builder.fault),
        **lane_fields(y.lanes),
    }
    if residual is not None:
        addend = builder.panel(residual)
        reads += addend.buffers
        fields |= {"residual": addend.location, "residual_panel": addend.panel_bytes}
    kernel = KERNELS[table.dtype]
    builder.emit(
        Layer(node.name, node.op, kernel.name),
        kernel,
        Record(EMBEDDING, fields),
        tiles=y.lanes.vectors,
        reads=reads,
        writes=y.buffers,
        tile_ns=16.0 * y.k,
        scratch=SCRATCH,
        span=Span(y.lanes, per_vector=1),
    )
    builder.panels[node[0]] = y
    return None


LOWERINGS = (OpLowering("embedding", _lower),)
