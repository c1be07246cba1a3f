"""Reshape, Slice and Gather: views where they can be, lanes taken where they cannot, else copies of rows."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Node, Value
from engine.kernels.layout import VECTOR_LANES, Lanes
from engine.kernels.movement.rows import SCRATCH, TAKE, take_lanes
from engine.lowering.builder import F32, Builder, Lowered, OpLowering
from engine.lowering.ops._products import required
from engine.lowering.ops.plain_movement import gather_rows, slice_rows
from engine.plan.steps import Array, Field, Fixed, Layer, Location, Record, Tensor


def _reshape(node: Node, builder: Builder) -> Lowered:
    value, shape = required(node, 0), node[0].shape
    panel = builder.panels.get(value)
    if panel is not None and shape and shape[-1] == panel.k and builder.lanes(shape) == panel.lanes:
        builder.panels[node[0]] = panel
        return None
    rows = builder.rows(value)
    builder.tensors[node[0]] = Tensor(rows.dtype, shape, rows.location)
    return None


def _positions(lanes: Lanes, leading: tuple[int, ...]) -> Array:
    """The lane of every position [...], row-major."""
    places = np.arange(lanes.outer)[:, None] * lanes.pitch + np.arange(lanes.inner)
    return places.reshape(leading)


def _take(node: Node, builder: Builder, value: Value, lanes_taken: Array) -> Lowered:
    """A panel whose positions are these lanes of the source's panel."""
    x, y = builder.panel(value), builder.new_panel(node[0].shape)
    table = np.zeros(y.lanes.panels * y.lanes.width, np.int64)
    place = _positions(y.lanes, node[0].shape[:-1]).reshape(-1)
    table[:] = lanes_taken.reshape(-1)[-1]
    table[place] = lanes_taken.reshape(-1)
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "x_row_bytes": x.lanes.row_bytes,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "y_row_bytes": y.lanes.row_bytes,
        "k": x.k,
        "lanes": int(place.max()) + 1,
        "map": Location(Fixed(table)),
    }
    builder.emit(
        Layer(node.name, node.op, take_lanes.name),
        take_lanes,
        Record(TAKE, fields),
        tiles=int(place.max()) // VECTOR_LANES + 1,
        reads=x.buffers,
        writes=y.buffers,
        tile_ns=4.0 * x.k,
        scratch=SCRATCH,
    )
    builder.panels[node[0]] = y
    return None


def _gather(node: Node, builder: Builder) -> Lowered:
    value, indices = required(node, 0), required(node, 1).array
    axis = node.attrs["axis"]
    if (
        not builder.is_panel(value)
        or indices is None
        or axis >= len(value.shape) - 1
        or not node[0].shape[:-1]
    ):
        return gather_rows(node, builder)
    lanes = _positions(builder.panel(value).lanes, value.shape[:-1])
    return _take(node, builder, value, np.take(lanes, indices, axis=axis))


def _take_positions(node: Node, builder: Builder) -> Lowered:
    value, places = required(node, 0), required(node, 1).array
    if places is None or value.dtype != F32:
        return "its places are not constant, or its numbers not float32"
    lanes = _positions(builder.panel(value).lanes, value.shape[:-1])
    return _take(node, builder, value, lanes.reshape(-1)[places])


def _slice(node: Node, builder: Builder) -> Lowered:
    value = required(node, 0)
    if value.dtype != F32 or not builder.is_panel(value):
        return slice_rows(node, builder)
    ranges = [slice(None)] * len(value.shape)
    for axis, start, end, step in zip(
        *(node.attrs[name] for name in ("axes", "starts", "ends", "steps")), strict=True
    ):
        ranges[axis] = slice(start, end, step)
    first, last, step = ranges[-1].indices(value.shape[-1])
    lanes = _positions(builder.panel(value).lanes, value.shape[:-1])
    kept = lanes[tuple(ranges[:-1])]
    if step != 1 or (kept.shape != lanes.shape and (first, last) != (0, value.shape[-1])):
        return slice_rows(node, builder)
    if kept.shape != lanes.shape:
        return _take(node, builder, value, kept)
    builder.panels[node[0]] = builder.panel(value).rows(first, last - first)
    return None


LOWERINGS = (
    OpLowering("Reshape", _reshape),
    OpLowering("Gather", _gather),
    OpLowering("Slice", _slice),
    OpLowering("take_positions", _take_positions),
)
