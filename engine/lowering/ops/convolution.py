"""windows and depthwise convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.graph.ir import Node, Value
from engine.kernels.convolution import depthwise, sliding
from engine.kernels.convolution.flat_places import is_flat
from engine.kernels.convolution.planes import PLANES, Window
from engine.kernels.layout import quad_rows
from engine.kernels.products.epilogue import EPILOGUE
from engine.lowering.builder import F32, U8, Builder, Lowered, OpLowering
from engine.lowering.ops._flat import depthwise_epilogue, emit_flat
from engine.lowering.ops._images import (
    Seen,
    constant_fill,
    emit_windows,
    place_of_pixels,
    planes_fields,
    tap_offsets,
    window_of,
)
from engine.lowering.ops._products import (
    activation_fields,
    integer_start,
    keep,
    optional,
    required,
    result_panel,
    store_fields,
)
from engine.lowering.ops._requantise import requantise_fields
from engine.lowering.ops._sliding import emit_sliding
from engine.lowering.ops.linear import epilogue_bias
from engine.lowering.panels import STRIP_MARGIN
from engine.plan.steps import Array, Field, Fixed, Layer, Location, Record


# -- windows
def _windows(node: Node, builder: Builder) -> Lowered:
    x, channels = required(node, 0), node.attrs["channels"]
    if x.dtype not in (F32, U8) or (x.dtype == U8 and channels % 4):
        return f"windows of {x.dtype} with {channels} channels"
    if 4 * window_of(node).channel * x.shape[2] >= 1 << 31:
        return "an image's planes are larger than 2 GiB"
    builder.later[node[0]] = lambda: _lay_windows(node, builder)
    return None


def _lay_windows(node: Node, builder: Builder) -> None:
    is_bytes = node[0].dtype == U8
    seen = Seen.of(node, builder.lanes(node[0].shape), "quads" if is_bytes else "panel")
    y = builder.new_panel(node[0].shape, quads=is_bytes)
    emit_windows(builder, seen, y)
    keep(node, builder, y)


# -- depthwise
def _depthwise(node: Node, builder: Builder) -> Lowered:
    weights, bias = required(node, 1).array, optional(node, 2)
    if weights is None or (bias is not None and bias.array is None):
        return "its weights or bias are not constant"
    epilogue = epilogue_bias(node, builder, 2, len(weights))
    if is_flat(window_of(node)):
        emit_flat(node, builder, builder.fixed(weights), epilogue, optional(node, 3))
        return None
    weights_at: dict[str, Field] = {"w": builder.fixed(weights)}
    return _emit_depthwise(node, builder, depthwise.DEPTHWISE_F32, weights_at, epilogue, optional(node, 3))


def _quantized_depthwise(node: Node, builder: Builder) -> Lowered:
    arrays = [None if value is None else value.array for value in (required(node, i) for i in (1, 2))]
    weights, scale = arrays
    others = [optional(node, index) for index in (3, 4)]
    if weights is None or scale is None or any(v is not None and v.array is None for v in others):
        return "its weights, scale or bias are not constant"
    attrs, m = node.attrs, len(weights)
    zero = attrs["weight_zero"]
    whole = others[0].array if others[0] is not None else None

    def signed(array: Array) -> Array:
        return np.asarray(array.astype(np.int16) - zero, np.int8)

    start = integer_start(attrs["zero_point"], signed(weights).sum(axis=1, dtype=np.int64), whole)
    # One for each channel, whatever the file says.
    scales = builder.weights.packed(scale, ("each", m), lambda a: np.resize(a.astype(np.float32), m))
    epilogue: dict[str, Field] = {
        "integer": 1,
        "scale": builder.padded(scales, m + STRIP_MARGIN, np.float32),
        "scale_stride": 4,
        **epilogue_bias(node, builder, 4, m),
    }
    if attrs["product"] is not None:
        step, zero_point = attrs["product"]
        epilogue |= {"product_step": float(step), "product_zero": int(zero_point)}
    residual, bias = optional(node, 5), None if others[1] is None else others[1].array
    if residual is None and attrs["store"] is not None:
        last = {**epilogue, **store_fields(attrs["store"]), **activation_fields(attrs["activation"]), "m": m}
        shorter = requantise_fields(last, scales, bias) or {}
        kernel = sliding.DEPTHWISE_QUADS.get(shorter.get("finisher"))
        if kernel is not None:
            taps = builder.weights.packed(weights, ("taps", zero), lambda a: sliding.pack_taps(signed(a)))
            places = {"w": Location(Fixed(taps)), "start": Location(Fixed(start))}
            y = result_panel(node, builder, attrs["store"])
            fields: dict[str, Field | Record] = {
                **places,
                "epilogue": Record(EPILOGUE, {**last, **shorter, "finisher": 0}),
            }
            emit_sliding(node, builder, kernel, y, attrs["zero_point"], fields)
            return None
    packed = builder.weights.packed(weights, ("depthwise", zero), lambda a: depthwise.pack_quads(signed(a)))
    weights_at: dict[str, Field] = {"w": Location(Fixed(packed)), "start": Location(Fixed(start))}
    return _emit_depthwise(node, builder, depthwise.DEPTHWISE_U8, weights_at, epilogue, residual)


def _emit_depthwise(
    node: Node,
    builder: Builder,
    kernel: Any,
    weights: dict[str, Field],
    epilogue: dict[str, Field],
    residual: Value | None,
) -> Lowered:
    value, window = required(node, 0), window_of(node)
    images, pixels, channels = node[0].shape
    x, y = place_of_pixels(value, builder), result_panel(node, builder, node.attrs["store"])
    scratch = depthwise.Scratch.of(window, y.lanes.pitch, x.width)
    fills = constant_fill(np.asarray(node.attrs.get("zero_point", 0), value.dtype), value.dtype)
    last, read = depthwise_epilogue(node, builder, y, epilogue, residual)
    fields: dict[str, Field | Record] = {
        **weights,
        **_sliding(window, scratch, channels),
        "planes": Record(PLANES, {**planes_fields(x, window, x.rows), "fill": fills}),
        "lane_pitch": y.lanes.pitch,
        "epilogue": last,
    }
    builder.emit(
        Layer(node.name, node.op, kernel.name),
        kernel,
        Record(depthwise.DEPTHWISE, fields),
        tiles=images * quad_rows(channels),
        reads=(*x.buffers, *read),
        writes=y.buffers,
        tile_ns=depthwise.CHANNELS * pixels * (window.taps * 0.03 + 0.3),
        scratch=scratch.size,
    )
    if node.attrs["store"] is None:
        builder.makers[node[0]] = len(builder.steps) - 1
    keep(node, builder, y)
    return None


def _sliding(window: Window, scratch: depthwise.Scratch, channels: int) -> dict[str, Field]:
    """How the window goes over the planes in scratch."""
    return {
        "offsets": tap_offsets(window),
        "taps": window.taps,
        "quads": quad_rows(channels),
        "pitch": window.pitch,
        "height": window.result[0],
        "width": window.result[1],
        "sums": scratch.sums,
        "flat": scratch.flat,
        "copies": scratch.copies,
    }


LOWERINGS = (
    OpLowering("windows", _windows),
    OpLowering("depthwise", _depthwise),
    OpLowering("quantized_depthwise", _quantized_depthwise),
)
