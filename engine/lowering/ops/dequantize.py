"""DequantizeLinear of bytes with one scale: what no product, norm or attention reads as bytes."""

from __future__ import annotations

from engine.graph.ir import Node
from engine.kernels.quantize.dequantize import DEQUANTIZE, dequantize_quads
from engine.lowering.builder import U8, Builder, Lowered, OpLowering
from engine.lowering.ops._products import required, single_quantisation
from engine.plan.steps import Field, Layer, Record


def _dequantize(node: Node, builder: Builder) -> Lowered:
    found = single_quantisation(node)
    if required(node, 0).dtype != U8 or not required(node, 0).shape:
        return "it is not of uint8 with features"
    if found is None:
        return "it has more than one scale, or one that is not constant"
    builder.later[node[0]] = lambda: _emit(node, builder, *found)
    return None


def _emit(node: Node, builder: Builder, scale: float, zero_point: int) -> None:
    x, y = builder.quad_panel(required(node, 0)), builder.result(node[0])
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "k": x.k,
        "row_bytes": x.lanes.row_bytes,
        "zero_point": zero_point,
        "scale": scale,
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


LOWERINGS = (OpLowering("DequantizeLinear", _dequantize),)
