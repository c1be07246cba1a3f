"""DequantizeLinear of bytes with one scale: what no product, norm or attention reads as bytes."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Node, Value
from engine.kernels.quantize.dequantize import DEQUANTIZE, dequantize_quads
from engine.lowering.builder import U8, Builder, Lowered, OpLowering
from engine.lowering.ops._products import optional, required
from engine.plan.steps import Array, Field, Layer, Record


def _single(value: Value | None) -> Array | None:
    array = None if value is None else value.array
    return array.reshape(()) if array is not None and array.size == 1 else None


def _dequantize(node: Node, builder: Builder) -> Lowered:
    value, scale, zero = required(node, 0), _single(node.inputs[1]), optional(node, 2)
    offset = np.zeros((), np.uint8) if zero is None else _single(zero)
    if value.dtype != U8 or not value.shape or node.attrs.get("block_size"):
        return "it is not of uint8 with features"
    if scale is None or offset is None or scale.dtype != np.float32:
        return "it has more than one scale, or one that is not constant"
    x, y = builder.quad_panel(value), builder.new_panel(node[0].shape)
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "k": x.k,
        "row_bytes": x.lanes.row_bytes,
        "zero_point": int(offset),
        "scale": float(scale),
    }
    builder.emit(
        Layer(node.name, node.op, dequantize_quads.name),
        dequantize_quads,
        Record(DEQUANTIZE, fields),
        tiles=x.lanes.vectors,
        reads=x.buffers,
        writes=y.buffers,
        tile_ns=1.5 * x.k,
    )
    builder.panels[node[0]] = y
    return None


LOWERINGS = (OpLowering("DequantizeLinear", _dequantize),)
