"""Elementwise operators: on panels where the operands are activations, else on rows, flat or with broadcasting."""

from __future__ import annotations

import math

import numpy as np

from engine.graph.ir import Node, Value
from engine.jit import Kernel
from engine.kernels.elementwise import panel as on_panels
from engine.kernels.elementwise import rows as on_rows
from engine.kernels.layout import VECTOR_LANES
from engine.kernels.row import aligned
from engine.lowering.builder import F32, Builder, Lowered, OpLowering, buffers, place_of
from engine.lowering.ops._products import required
from engine.lowering.panels import Panel
from engine.plan.steps import Array, Buffer, Field, Fixed, Layer, Location, Record, Span, Tensor

_OPERANDS = ("a", "b", "c", "y")
# Vectors of a tile of rows, at most.
_CHUNK = 64
# Numbers of a constant that is written out in full.
_MOST_REPEATED = 1 << 18


# -- panels
def _emit_panel(
    node: Node,
    builder: Builder,
    kernel: Kernel,
    a: Panel,
    second: dict[str, Field],
    reads: tuple[Buffer, ...],
    *,
    by_lane: bool = True,
) -> None:
    """A step over panels; `by_lane` says that it does not mind to which sequence a lane belongs."""
    y = builder.result(node[0])
    fields: dict[str, Field | Record] = {
        "a": a.location,
        "a_panel": a.panel_bytes,
        **second,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "k": a.k,
        "row_bytes": a.lanes.row_bytes,
    }
    builder.emit(
        Layer(node.name, node.op, kernel.name),
        kernel,
        Record(on_panels.PANEL, fields),
        tiles=a.lanes.panels * a.k,
        reads=(*a.buffers, *reads),
        writes=y.buffers,
        tile_ns=a.lanes.width / 4,
        span=Span(a.lanes, per_panel=a.k) if by_lane else None,
    )
    builder.panels[node[0]] = y


def _per_feature(value: Value, k: int) -> Array | None:
    """A constant that is one value, or one value a feature."""
    array = value.array
    if array is None or array.dtype != F32 or (array.size != 1 and array.shape[-1:] != (array.size,)):
        return None
    return array if array.size in (1, k) else None


def _binary_on_panels(node: Node, builder: Builder) -> bool:
    a, b = required(node, 0), required(node, 1)
    shape = node[0].shape
    if not shape or not (builder.is_panel(a) or builder.is_panel(b)):
        return False
    if a.shape == b.shape == shape:
        first, second = builder.panel(a), builder.panel(b)
        other: dict[str, Field] = {"b": second.location, "b_panel": second.panel_bytes}
        _emit_panel(node, builder, on_panels.BINARY_KERNELS[node.op, "panel"], first, other, second.buffers)
        return True
    form, x, constant = ("row", a, b) if a.shape == shape else ("reversed", b, a)
    if constant.array is None and x.shape == shape:
        return _by_sequence(node, builder, form, x, constant)
    values = _per_feature(constant, shape[-1])
    if values is None or x.shape != shape:
        return False
    other = {"b": builder.fixed(values), "b_row": 4 if values.size > 1 else 0}
    _emit_panel(node, builder, on_panels.BINARY_KERNELS[node.op, form], builder.panel(x), other, ())
    return True


def _by_sequence(node: Node, builder: Builder, form: str, x: Value, row: Value) -> bool:
    """The node where its other operand is a row of numbers for each sequence, as a gate for the channels of images."""
    *outer, _, k = x.shape
    swaps = node.op in ("Add", "Mul")
    if row.shape != (*outer, 1, k) or (form == "reversed" and not swaps):
        return False
    if (node.op, "sequence") not in on_panels.BINARY_KERNELS:
        return False
    panel, rows = builder.panel(x), builder.rows(row)
    lanes = panel.lanes
    other: dict[str, Field] = {"b": place_of(rows)}
    if lanes.outer == 1:
        other |= {"b_row": 4}
        _emit_panel(node, builder, on_panels.BINARY_KERNELS[node.op, "row"], panel, other, buffers(rows))
    else:
        other |= {"sequences": lanes.outer, "pitch": lanes.pitch}
        kernel = on_panels.BINARY_KERNELS[node.op, "sequence"]
        _emit_panel(node, builder, kernel, panel, other, buffers(rows), by_lane=False)
    return True


def _numbers(node: Node) -> dict[str, Field]:
    """The fields of the numbers that an operation has beside its operand."""
    names, _ = on_panels.NUMBERED.get(node.op, ((), None))
    return {
        place: float(node.attrs.get(name, 1.0))
        for place, name in zip(("first", "second"), names, strict=False)
    }


# -- rows, element beside element
def _emit_flat(
    node: Node,
    builder: Builder,
    kernel: Kernel,
    a: Tensor,
    second: dict[str, Field],
    reads: tuple[Buffer, ...],
) -> None:
    """Rows as one panel: tensors have room for the whole vector at their end."""
    y = builder.new_rows(node[0])
    vectors = -(-math.prod(node[0].shape) // VECTOR_LANES)
    chunk = next(size for size in range(_CHUNK, 0, -1) if vectors % size == 0)
    fields: dict[str, Field | Record] = {
        "a": place_of(a),
        **second,
        "y": place_of(y),
        "k": vectors // chunk,
        "row_bytes": 64 * chunk,
    }
    builder.emit(
        Layer(node.name, node.op, kernel.name),
        kernel,
        Record(on_panels.PANEL, fields),
        tiles=vectors // chunk,
        reads=(*buffers(a), *reads),
        writes=buffers(y),
        tile_ns=4.0 * chunk,
    )


def _lies_flat(value: Value, builder: Builder) -> bool:
    return (value in builder.tensors or value in builder.strided) and not builder.is_panel(value)


def _repeated(array: Array, shape: tuple[int, ...], builder: Builder) -> Location | None:
    """A constant in the result's shape: its own, or written out where that makes many of short lines one long one."""
    if array.shape == shape:
        return builder.fixed(array)
    if math.prod(shape) > _MOST_REPEATED or shape[-1] >= VECTOR_LANES:
        return None

    def repeat(source: Array) -> Array:
        made = aligned(math.prod(shape) + VECTOR_LANES, F32)
        made[: math.prod(shape)] = np.broadcast_to(source, shape).reshape(-1)
        return made

    return Location(Fixed(builder.weights.packed(array, ("repeated", shape), repeat)))


def _flat(node: Node, builder: Builder, op: str, values: list[Value]) -> bool:
    """The node on rows as they lie, where all of its operands have as many elements as the result, or are constant."""
    shape = node[0].shape
    alike = [value for value in values if value.shape == shape and _lies_flat(value, builder)]
    if alike and len(values) == 1 and op in on_panels.UNARY_KERNELS:
        x = builder.rows(values[0])
        _emit_flat(node, builder, on_panels.UNARY_KERNELS[op], x, _numbers(node), ())
        return True
    if not alike or len(values) != 2 or op not in on_panels.BINARY:
        return False
    first, second = (builder.rows(value) if value in alike else None for value in values)
    if first is None or second is None:
        return _flat_with_constant(node, builder, op, values, first or second)
    kernel = on_panels.BINARY_KERNELS[op, "panel"]
    _emit_flat(node, builder, kernel, first, {"b": place_of(second)}, buffers(second))
    return True


def _flat_with_constant(node: Node, builder: Builder, op: str, values: list[Value], x: Tensor | None) -> bool:
    """The same where the operand beside x is a constant: one number, or written out if it is the second."""
    is_second = values[0] in builder.tensors and builder.tensors[values[0]] is x
    array = values[1 if is_second else 0].array
    if x is None or array is None:
        return False
    if array.size == 1:
        other: dict[str, Field] = {"b": builder.fixed(array)}
        form = "row" if is_second else "reversed"
        _emit_flat(node, builder, on_panels.BINARY_KERNELS[op, form], x, other, ())
        return True
    written = _repeated(array, node[0].shape, builder) if is_second else None
    if written is None:
        return False
    _emit_flat(node, builder, on_panels.BINARY_KERNELS[op, "panel"], x, {"b": written}, ())
    return True


# -- rows, with broadcasting
def _strides(shape: tuple[int, ...], target: tuple[int, ...], itemsize: int) -> list[int]:
    """Byte strides of an operand broadcast to `target`, with MAX_RANK axes."""
    padded = (1,) * (on_rows.MAX_RANK - len(shape)) + shape
    full = (1,) * (on_rows.MAX_RANK - len(target)) + target
    return list(np.broadcast_to(np.zeros(padded, np.dtype(f"V{itemsize}")), full).strides)


def _on_rows(node: Node, builder: Builder) -> Lowered:
    inputs = [required(node, i) for i in range(len(node.inputs))]
    kinds = tuple(on_rows.KINDS.get(value.dtype, "") for value in inputs)
    kernel = on_rows.KERNELS.get((node.op, kinds, on_rows.KINDS.get(node[0].dtype, "")))
    shape = node[0].shape
    if kernel is None:
        return f"no kernel for {node.op} of {', '.join(str(value.dtype) for value in inputs)}"
    if len(shape) > on_rows.MAX_RANK:
        return f"it has more than {on_rows.MAX_RANK} axes"
    tensors = [builder.rows(value) for value in inputs]
    y = builder.new_rows(node[0])
    full = (1,) * (on_rows.MAX_RANK - len(shape)) + shape
    operands = [(name, tensor) for name, tensor in zip(_OPERANDS, tensors, strict=False)] + [("y", y)]
    leading = np.zeros((1 + len(_OPERANDS), on_rows.MAX_RANK - 1), np.int64)
    leading[0] = full[:-1]
    fields: dict[str, Field | Record] = {"count": full[-1]}
    for name, tensor in operands:
        strides = _strides(tensor.shape or (), shape, tensor.dtype.itemsize)
        leading[1 + _OPERANDS.index(name)] = strides[:-1]
        fields |= {name: place_of(tensor), f"{name}_stride": strides[-1]}
    fields["leading"] = builder.fixed(leading)
    builder.emit(
        Layer(node.name, node.op, kernel.name),
        kernel,
        Record(on_rows.ELEMENTWISE, fields),
        tiles=math.prod(full[:-1]),
        reads=[buffer for tensor in tensors for buffer in buffers(tensor)],
        writes=buffers(y),
        tile_ns=2.0 * full[-1] + 20,
    )
    return None


def _meaning(node: Node) -> tuple[str, list[Value]]:
    """The operation as the kernels of panels know it, and its operands."""
    values = [required(node, place) for place in range(len(node.inputs))]
    if node.op == "gelu" and node.attrs["approximate"] == "tanh":
        return "gelu_tanh", values
    exponent = values[1].array if node.op == "Pow" else None
    if exponent is not None and exponent.size == 1 and exponent == 2 and values[0].shape == node[0].shape:
        return "Square", values[:1]
    return node.op, values


def _lower(node: Node, builder: Builder) -> Lowered:
    op, values = _meaning(node)
    floats = all(value.dtype == F32 for value in values)
    if floats and node[0].shape and _flat(node, builder, op, values):
        return None
    if op in on_panels.BINARY and len(values) == 2 and floats and _binary_on_panels(node, builder):
        return None
    # Where the rows table has no body for it, making a panel of the operand is still cheaper than leaving.
    is_apart = builder.is_panel(values[0]) or (node.op, ("f32",), "f32") not in on_rows.KERNELS
    if op in on_panels.UNARY_KERNELS and floats and node[0].shape and is_apart:
        _emit_panel(node, builder, on_panels.UNARY_KERNELS[op], builder.panel(values[0]), _numbers(node), ())
        return None
    return _on_rows(node, builder)


# What `_meaning` makes of others.
_MADE = {"gelu_tanh", "Square"}
_OPS = sorted({*on_panels.UNARY_KERNELS, *on_panels.BINARY, *(op for op, _, _ in on_rows.TABLE)} - _MADE)
LOWERINGS = tuple(OpLowering(op, _lower) for op in _OPS)
