"""layer_norm and Softmax over features: down the rows of a panel."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Node
from engine.kernels.norm.rows import NORM, normalize
from engine.kernels.softmax.rows import SOFTMAX, softmax
from engine.lowering.builder import F32, Builder, Lowered, OpLowering
from engine.lowering.ops._products import optional, required
from engine.plan.steps import Buffer, Field, Layer, Record, Span


def _layer_norm(node: Node, builder: Builder) -> Lowered:
    gain, bias = required(node, 1).array, optional(node, 2)
    if gain is None or (bias is not None and bias.array is None):
        return "its gain or bias is not constant"
    x, heads = builder.panel(required(node, 0)), int(node.attrs.get("heads", 1))
    y = builder.new_panel(node[0].shape)
    writes: list[Buffer] = [*y.buffers]
    zeros = builder.weights.packed(gain, "zeros", np.zeros_like)
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "k": x.k // heads,
        "heads": heads,
        "row_bytes": x.lanes.row_bytes,
        "gain": builder.fixed(gain),
        "bias": builder.fixed(zeros if bias is None or bias.array is None else bias.array),
        "epsilon": float(node.attrs["epsilon"]),
        "keeps_mean": int(node.attrs.get("keeps_mean", False)),
    }
    if node.attrs["quantize"] is not None:
        step, zero_point = node.attrs["quantize"]
        quads = builder.new_panel(node[0].shape, quads=True)
        fields |= {"quads": quads.location, "quads_panel": quads.panel_bytes}
        fields |= {"step": float(step), "zero_point": int(zero_point), "rounded": int(node.attrs["rounded"])}
        writes += quads.buffers
        builder.quads[node[1]] = quads
    builder.emit(
        Layer(node.name, node.op, normalize.name),
        normalize,
        Record(NORM, fields),
        tiles=x.lanes.vectors * heads,
        reads=x.buffers,
        writes=writes,
        tile_ns=4.0 * x.k / heads,
        span=Span(x.lanes, per_vector=heads),
    )
    builder.panels[node[0]] = y
    if node.attrs["quantize"] is None and heads == 1:
        builder.makers[node[0]] = len(builder.steps) - 1
    return None


def _softmax(node: Node, builder: Builder) -> Lowered:
    value = required(node, 0)
    if value.dtype != F32 or node.attrs["axis"] not in (-1, len(value.shape) - 1):
        return "it is not float32 over the last axis"
    x, y = builder.panel(value), builder.new_panel(value.shape)
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "k": x.k,
        "row_bytes": x.lanes.row_bytes,
    }
    builder.emit(
        Layer(node.name, node.op, softmax.name),
        softmax,
        Record(SOFTMAX, fields),
        tiles=x.lanes.vectors,
        reads=x.buffers,
        writes=y.buffers,
        tile_ns=10.0 * x.k,
        span=Span(x.lanes, per_vector=1),
    )
    builder.panels[node[0]] = y
    return None


LOWERINGS = (OpLowering("layer_norm", _layer_norm), OpLowering("Softmax", _softmax))
