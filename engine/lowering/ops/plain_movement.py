"""Transpose, Expand, Concat, Pad and the like: copies of elements between tensors as ONNX lays them out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engine.graph.ir import Node, Value
from engine.kernels.plain.copy import COPY, copy_rows
from engine.kernels.plain.gather import ELEMENTS, SLICES, gather_elements, gather_slices
from engine.lowering.builder import Builder, Lowered, OpLowering, Strided, buffers, place_of
from engine.lowering.ops._products import optional, required
from engine.plan.steps import Field, Layer, Location, Record, Tensor

# Bytes of elements that there are copies for.
ITEMS = (1, 4, 8)
_LINE = 64


def places(builder: Builder, sizes: Sequence[int], *strides: Sequence[int]) -> Location:
    """A table of axes for kernels: sizes, then the strides of each operand."""
    return builder.fixed(np.asarray([sizes, *strides], np.int64).reshape(-1))


def row_strides(shape: Sequence[int], item: int) -> list[int]:
    """Bytes from one element to the next along each axis."""
    return [item * math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def copied(node: Node, builder: Builder, source: Strided, target: Strided, shape: Sequence[int]) -> None:
    """A step that copies a block of `shape` between two places."""
    x, y = source.tensor, target.tensor
    axes = _merged(shape, source.strides, target.strides)
    if axes[-1][0] * x.dtype.itemsize < _LINE:
        # A line of a few numbers is not worth a tile.
        axes.append(axes.pop(max(range(len(axes)), key=lambda axis: axes[axis][0])))
    *leading, (count, x_stride, y_stride) = axes
    sizes, steps_x, steps_y = ([axis[i] for axis in leading] for i in range(3))
    item = x.dtype.itemsize
    fields: dict[str, Field | Record] = {
        "x": place_of(x).shifted(source.offset),
        "y": place_of(y).shifted(target.offset),
        "item": item,
        "count": count,
        "x_stride": x_stride,
        "y_stride": y_stride,
        "axes": len(leading),
        "places": places(builder, sizes, steps_x, steps_y) if leading else 0,
    }
    together = x_stride == y_stride == item
    builder.emit(
        Layer(node.name, node.op, copy_rows.name),
        copy_rows,
        Record(COPY, fields),
        tiles=math.prod(sizes),
        reads=buffers(x),
        writes=buffers(y),
        tile_ns=10.0 + count * (item / 32 if together else 1.0),
    )


def _merged(
    shape: Sequence[int], x_strides: Sequence[int], y_strides: Sequence[int]
) -> list[tuple[int, int, int]]:
    """Axes of more than one element, neighbours that lie one behind the other in both joined."""
    axes: list[tuple[int, int, int]] = []
    for size, x, y in zip(shape, x_strides, y_strides, strict=True):
        if size == 1:
            continue
        if axes and axes[-1][1:] == (size * x, size * y):
            axes[-1] = (axes[-1][0] * size, x, y)
        else:
            axes.append((size, x, y))
    return axes or [(1, 0, 0)]


def _unfit(*values: Value) -> str | None:
    sizes = {value.dtype.itemsize for value in values}
    return None if sizes <= set(ITEMS) else f"no copies of {values[0].dtype}"


def whole(tensor: Tensor) -> Strided:
    """All elements as they lie."""
    return Strided(tensor, 0, tuple(row_strides(tensor.shape or (), tensor.dtype.itemsize)))


def _elements(value: Value, builder: Builder) -> Strided:
    """Where a value's elements lie, uncopied if they are so yet."""
    is_open = value in builder.strided and value in builder.later
    return builder.strided[value] if is_open else whole(builder.rows(value))


def _moved(node: Node, builder: Builder, source: Strided) -> None:
    """These elements are the result, and are copied when somebody asks for them as rows."""
    value = node[0]

    def copy() -> None:
        copied(node, builder, source, whole(builder.new_rows(value)), value.shape)

    builder.strided[value], builder.later[value] = source, copy


def _transpose(node: Node, builder: Builder) -> Lowered:
    value = required(node, 0)
    reason = _unfit(value)
    if reason is not None:
        return reason
    x = _elements(value, builder)
    _moved(node, builder, Strided(x.tensor, x.offset, tuple(x.strides[axis] for axis in node.attrs["perm"])))
    return None


def slice_rows(node: Node, builder: Builder) -> Lowered:
    """Any slice, as a copy."""
    value = required(node, 0)
    reason = _unfit(value)
    if reason is not None:
        return reason
    x = _elements(value, builder)
    strides, offset = list(x.strides), x.offset
    for axis, start, step in zip(*(node.attrs[name] for name in ("axes", "starts", "steps")), strict=True):
        offset += start * strides[axis]
        strides[axis] *= step
    _moved(node, builder, Strided(x.tensor, offset, tuple(strides)))
    return None


def _expand(node: Node, builder: Builder) -> Lowered:
    value, shape = required(node, 0), node[0].shape
    reason = _unfit(value)
    if reason is not None:
        return reason
    x, y = builder.rows(value), builder.new_rows(node[0])
    own = row_strides(value.shape, value.dtype.itemsize)
    strides = [0 if size == 1 else stride for size, stride in zip(value.shape, own, strict=True)]
    source = Strided(x, 0, (*[0] * (len(shape) - len(strides)), *strides))
    copied(node, builder, source, whole(y), shape)
    return None


def _concat(node: Node, builder: Builder) -> Lowered:
    values = [value for value in node.inputs if value is not None]
    reason = _unfit(*values)
    if reason is not None:
        return reason
    parts, y = [_elements(value, builder) for value in values], whole(builder.new_rows(node[0]))
    offset, axis = 0, node.attrs["axis"]
    for value, x in zip(values, parts, strict=True):
        # A part may have been made in its place: see side_by_side.
        if place_of(x.tensor).shifted(x.offset) != place_of(y.tensor).shifted(offset):
            copied(node, builder, x, Strided(y.tensor, offset, y.strides), value.shape)
        offset += value.shape[axis] * y.strides[axis]
    return None


def _pad(node: Node, builder: Builder) -> Lowered:
    value, fill = required(node, 0), optional(node, 1)
    pads = node.attrs["pads"]
    if node.attrs["mode"] != "constant" or min(pads) < 0 or (fill is not None and fill.array is None):
        return "it pads with something else than a constant, or cuts"
    reason = _unfit(value)
    if reason is not None:
        return reason
    number = np.zeros(1, value.dtype) if fill is None or fill.array is None else fill.array.reshape(1)
    x, y = builder.rows(value), builder.new_rows(node[0])
    target = whole(y)
    constant = Strided(Tensor(value.dtype, (1,), builder.fixed(number)), 0, (0,) * len(target.strides))
    copied(node, builder, constant, target, node[0].shape)
    offset = sum(before * stride for before, stride in zip(pads, target.strides, strict=False))
    copied(node, builder, whole(x), Strided(y, offset, target.strides), value.shape)
    return None


def _emit_slices(
    node: Node, builder: Builder, outer: int, indexed: tuple[int, ...], strides: tuple[int, int]
) -> None:
    """outer times as many choices; the axes `indexed` of x follow the outer ones. strides: of x and ids, outer."""
    value, ids = required(node, 0), required(node, 1)
    x, chosen, y = builder.rows(value), builder.rows(ids), builder.new_rows(node[0])
    item, depth = value.dtype.itemsize, len(indexed)
    size = math.prod(indexed)
    slice_bytes = item * math.prod(value.shape) // (outer * size)
    steps = [stride * slice_bytes // item for stride in row_strides(indexed, item)]
    choices = math.prod(node[0].shape) * item // (outer * slice_bytes)
    fields: dict[str, Field | Record] = {
        "x": place_of(x),
        "x_outer": strides[0],
        "y": place_of(y),
        "item": item,
        "bytes": slice_bytes,
        "choices": choices,
        "ids": place_of(chosen),
        "ids_outer": strides[1],
        "id_bytes": ids.dtype.itemsize,
        "depth": depth,
        "places": places(builder, indexed, steps),
        "fault": Location(builder.fault),
    }
    builder.emit(
        Layer(node.name, node.op, gather_slices.name),
        gather_slices,
        Record(SLICES, fields),
        tiles=outer * choices,
        reads=(*buffers(x), *buffers(chosen)),
        writes=buffers(y),
        tile_ns=5.0 + slice_bytes / 16,
    )


def gather_rows(node: Node, builder: Builder) -> Lowered:
    """Gather by indices of any kind along any axis."""
    value, ids, axis = required(node, 0), required(node, 1), node.attrs["axis"]
    reason = _unfit(value)
    if reason is not None or ids.dtype.kind != "i":
        return reason or "its indices are no signed integers"
    outer = math.prod(value.shape[:axis])
    whole = math.prod(value.shape[axis:]) * value.dtype.itemsize
    _emit_slices(node, builder, outer, value.shape[axis : axis + 1], (whole, 0))
    return None


def _gather_nd(node: Node, builder: Builder) -> Lowered:
    value, ids, batch = required(node, 0), required(node, 1), node.attrs["batch_dims"]
    reason = _unfit(value)
    if reason is not None or ids.dtype.kind != "i":
        return reason or "its indices are no signed integers"
    outer = math.prod(value.shape[:batch])
    indexed = value.shape[batch : batch + ids.shape[-1]]
    item, id_bytes = value.dtype.itemsize, ids.dtype.itemsize
    strides = (math.prod(value.shape[batch:]) * item, math.prod(ids.shape[batch:]) * id_bytes)
    _emit_slices(node, builder, outer, indexed, strides)
    return None


def _gather_elements(node: Node, builder: Builder) -> Lowered:
    value, ids, axis = required(node, 0), required(node, 1), node.attrs["axis"]
    reason = _unfit(value)
    if reason is not None or ids.dtype.kind != "i":
        return reason or "its indices are no signed integers"
    x, chosen, y = builder.rows(value), builder.rows(ids), builder.new_rows(node[0])
    strides, shape = row_strides(value.shape, value.dtype.itemsize), node[0].shape
    chosen_stride, strides[axis] = strides[axis], 0
    fields: dict[str, Field | Record] = {
        "x": place_of(x),
        "y": place_of(y),
        "item": value.dtype.itemsize,
        "count": shape[-1],
        "ids": place_of(chosen),
        "id_bytes": ids.dtype.itemsize,
        "axes": len(shape) - 1,
        "places": places(builder, shape[:-1], strides[:-1]) if len(shape) > 1 else 0,
        "last_stride": strides[-1],
        "chosen_size": value.shape[axis],
        "chosen_stride": chosen_stride,
        "fault": Location(builder.fault),
    }
    builder.emit(
        Layer(node.name, node.op, gather_elements.name),
        gather_elements,
        Record(ELEMENTS, fields),
        tiles=math.prod(shape[:-1]),
        reads=(*buffers(x), *buffers(chosen)),
        writes=buffers(y),
        tile_ns=10.0 + 2.0 * shape[-1],
    )
    return None


LOWERINGS = (
    OpLowering("Concat", _concat),
    OpLowering("Expand", _expand),
    OpLowering("GatherElements", _gather_elements),
    OpLowering("GatherND", _gather_nd),
    OpLowering("Pad", _pad),
    OpLowering("Transpose", _transpose),
)
