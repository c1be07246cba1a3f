"""Depthwise convolutions of float32 in flat rows, and the epilogue that all depthwise convolutions have."""

from __future__ import annotations

from engine.graph.ir import Node, Value
from engine.kernels.convolution.flat import depthwise_flat
from engine.kernels.convolution.flat_places import CHANNELS, FLAT, Flat, Shifts
from engine.kernels.layout import VECTOR_LANES, quad_rows
from engine.lowering.builder import Builder
from engine.lowering.ops._expanded import emit_expanded, expanded
from engine.lowering.ops._images import place_of_pixels, window_of
from engine.lowering.ops._products import (
    activation_fields,
    epilogue_record,
    keep,
    required,
    residual_fields,
    result_panel,
    store_fields,
)
from engine.lowering.panels import Panel
from engine.plan.steps import Buffer, Field, Fixed, Layer, Location, Record


def depthwise_epilogue(
    node: Node, builder: Builder, y: Panel, own: dict[str, Field], residual: Value | None
) -> tuple[Record, tuple[Buffer, ...]]:
    """The record, and the buffers that are read."""
    addend, read = ({}, ()) if residual is None else residual_fields(builder, residual)
    fields: dict[str, Field] = {
        **own,
        **store_fields(node.attrs["store"]),
        **activation_fields(node.attrs["activation"]),
        **addend,
        "m": node[0].shape[2],
        "y": y.location,
        "y_panel": y.panel_bytes,
        "row_bytes": y.lanes.row_bytes,
    }
    return epilogue_record(fields), read


def flat_fields(flat: Flat) -> dict[str, int]:
    """What the record says of the window, but for constants."""
    window, masks = flat.window, flat.masks()
    across = Shifts.of(window, 1)
    is_beside = window.kernel == (3, 3) and across == Shifts((0,) * 3, (-1, 0, 1))
    above, below = flat.reach
    places = flat.places
    return {
        "height": window.image[0],
        "width": window.image[1],
        "taps_down": window.kernel[0],
        "taps_across": window.kernel[1],
        "period": len(masks),
        "neighbours": int(is_beside and flat.copied),
        "pitch": flat.pitch,
        "lane_pitch": flat.lane_pitch,
        "bands": flat.bands,
        "band": flat.band,
        "copied": int(flat.copied),
        "whole": int(window.stride[1] == 2 and window.image[1] % VECTOR_LANES == 0),
        "down": window.stride[0],
        "across": window.stride[1],
        "above": above,
        "below": below,
        "margin": flat.margin,
        "plane_bytes": 4 * flat.plane,
        **{name: places[name] for name in ("lines", "sums", "copies", "results")},
    }


def emit_flat(
    node: Node, builder: Builder, weights: Field, epilogue: dict[str, Field], residual: Value | None
) -> None:
    """Append the step, and keep its result."""
    images, pixels, channels = node[0].shape
    value, y = required(node, 0), result_panel(node, builder, node.attrs["store"])
    flat = Flat(window_of(node), y.lanes.pitch)
    last, read = depthwise_epilogue(node, builder, y, epilogue, residual)
    within = expanded(value, builder, flat, images)
    lanes = builder.lanes(value.shape)
    fields: dict[str, Field | Record] = {
        "x_width": lanes.width,
        "x_pitch": lanes.pitch,
        **flat_fields(flat),
        "quads": quad_rows(channels),
        "w": weights,
        "offsets": Location(Fixed(flat.offsets())),
        "masks": Location(Fixed(flat.masks())),
        "epilogue": last,
    }
    if within is not None:
        emit_expanded(node, builder, within, fields, y, read)
        keep(node, builder, y)
        return
    x = place_of_pixels(value, builder)
    builder.emit(
        Layer(node.name, node.op, depthwise_flat.name),
        depthwise_flat,
        Record(FLAT, {**fields, **x.fields("x")}),
        tiles=images * flat.bands * quad_rows(channels),
        reads=(*x.buffers, *read),
        writes=y.buffers,
        tile_ns=CHANNELS * pixels / flat.bands * (flat.window.taps * 0.03 + 0.1),
        scratch=flat.places["size"],
    )
    if node.attrs["store"] is None:
        builder.makers[node[0]] = len(builder.steps) - 1
    keep(node, builder, y)
