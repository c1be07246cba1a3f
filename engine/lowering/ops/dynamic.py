"""DynamicQuantizeLinear, and products of what it gives: parameters are found in steps of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.graph.ir import Node
from engine.kernels.dynamic.rows import (
    PARAMETERS,
    PRODUCT,
    QUANTIZE,
    RANGE_BYTES,
    RANGES,
    ROWS,
    find_parameters,
    find_ranges,
    product_parameters,
    quantize_by,
)
from engine.kernels.row import Array
from engine.lowering.builder import Builder, Lowered, OpLowering, buffers, lane_fields, place_of
from engine.lowering.ops._products import (
    Product,
    emit_product,
    optional,
    required,
)
from engine.lowering.ops.linear import epilogue_bias, integer_operands
from engine.lowering.panels import STRIP_MARGIN, Panel
from engine.plan.steps import Buffer, Field, Layer, Location, Record

SCRATCH = 64


def _quantize(node: Node, builder: Builder) -> Lowered:
    if not node[0].shape:
        return "it has no features"
    x = builder.panel(required(node, 0))
    y = builder.new_panel(node[0].shape, quads=True)
    ranges = Buffer(RANGE_BYTES * x.lanes.vectors)
    places = (builder.new_rows(node[1]), builder.new_rows(node[2]))
    parameters: dict[str, Field] = {"scale": place_of(places[0]), "zero_point": place_of(places[1])}
    _emit_ranges(node, builder, x, ranges)
    builder.emit(
        Layer(node.name, node.op, find_parameters.name),
        find_parameters,
        Record(
            PARAMETERS,
            {
                "ranges": Location(ranges),
                "vectors": x.lanes.vectors,
                **lane_fields(x.lanes),
                **parameters,
            },
        ),
        tiles=1,
        reads=(ranges,),
        writes=[buffer for place in places for buffer in buffers(place)],
        scratch=SCRATCH,
    )
    _emit_quantize(node, builder, (x, y), parameters)
    builder.quads[node[0]] = y
    return None


def _emit_ranges(node: Node, builder: Builder, x: Panel, ranges: Buffer) -> None:
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "k": x.k,
        "row_bytes": x.lanes.row_bytes,
        "ranges": Location(ranges),
    }
    builder.emit(
        Layer(node.name, node.op, find_ranges.name),
        find_ranges,
        Record(RANGES, fields),
        tiles=x.lanes.vectors,
        reads=x.buffers,
        writes=(ranges,),
        tile_ns=1.0 * x.k,
    )


def _emit_quantize(
    node: Node, builder: Builder, panels: tuple[Panel, Panel], parameters: dict[str, Field]
) -> None:
    x, y = panels
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "k": x.k,
        "row_bytes": x.lanes.row_bytes,
        **parameters,
    }
    read = [buffer for index in (1, 2) for buffer in buffers(builder.rows(node[index]))]
    builder.emit(
        Layer(node.name, node.op, quantize_by.name),
        quantize_by,
        Record(QUANTIZE, fields),
        tiles=x.lanes.vectors,
        reads=(*x.buffers, *read),
        writes=y.buffers,
        tile_ns=2.0 * x.k,
    )


def _linear(node: Node, builder: Builder) -> Lowered:
    weights, scale, bias = required(node, 3).array, required(node, 4).array, optional(node, 5)
    if weights is None or scale is None or (bias is not None and bias.array is None):
        return "its weights, scale or bias are not constant"
    operands = integer_operands(node, builder, weights)
    start, factor = _product_parameters(node, builder, scale, operands.row_sums)
    epilogue: dict[str, Field] = {
        "integer": 1,
        "scale": Location(factor),
        "scale_stride": 4,
        **epilogue_bias(node, builder, 5, operands.packed.m),
    }
    x, packed, choice = operands.x, operands.packed, operands.choice
    product = Product(x, packed, choice, epilogue, optional(node, 6), Location(start))
    emit_product(node, builder, replace(product, groups=operands.groups))
    return None


def _product_parameters(node: Node, builder: Builder, scale: Array, row_sums: Array) -> tuple[Buffer, Buffer]:
    """The step that makes what the product's sums begin at, and what they are scaled by; where it leaves them."""
    m = row_sums.size
    start, factor = (Buffer(4 * (m + STRIP_MARGIN)) for _ in range(2))
    parameters = [builder.rows(required(node, index)) for index in (1, 2)]
    fields: dict[str, Field | Record] = {
        "scale": place_of(parameters[0]),
        "zero_point": place_of(parameters[1]),
        "m": m,
        "weight_scale": builder.padded(scale, m + STRIP_MARGIN, np.float32),
        "weight_scale_stride": 4 if scale.size > 1 else 0,
        "row_sums": builder.padded(row_sums, m + STRIP_MARGIN, np.int32),
        "start": Location(start),
        "factor": Location(factor),
    }
    builder.emit(
        Layer(node.name, node.op, product_parameters.name),
        product_parameters,
        Record(PRODUCT, fields),
        tiles=-(-m // ROWS),
        reads=[buffer for tensor in parameters for buffer in buffers(tensor)],
        writes=(start, factor),
        tile_ns=1.0 * ROWS,
    )
    return start, factor


LOWERINGS = (OpLowering("DynamicQuantizeLinear", _quantize), OpLowering("dynamic_quantized_linear", _linear))
