"""Products, reductions and running sums of tensors as ONNX lays them out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engine.graph.ir import Node, Value
from engine.jit import Kernel
from engine.kernels.plain.along import REDUCE, REDUCE_KERNELS, REDUCTIONS, RUNNING, RUNNING_KERNELS, SCRATCH
from engine.kernels.plain.matmul import INTEGER_KERNELS, MATMUL, multiply
from engine.lowering.builder import F32, Builder, Lowered, OpLowering, buffers, place_of
from engine.lowering.ops._products import optional, required
from engine.lowering.ops.plain_movement import places, row_strides
from engine.lowering.ops.weighted_sum import sum_positions
from engine.plan.steps import Buffer, Field, Layer, Record

_KINDS = {np.dtype(np.float32): "f32", np.dtype(np.int64): "i64", np.dtype(np.int32): "i32"}
_SUMS = ("ReduceMean", "ReduceSum")


# -- products
def _batch_strides(shape: tuple[int, ...], batch: tuple[int, ...]) -> list[int]:
    """Elements from one matrix to the next along each axis of the batch; 0 repeats."""
    own = row_strides(shape, 1)[:-2]
    kept = [0 if size == 1 else stride for size, stride in zip(shape[:-2], own, strict=True)]
    return [0] * (len(batch) - len(kept)) + kept


def _emit_product(
    node: Node, builder: Builder, kernel: Kernel, zeros: dict[str, Field], zero_buffers: Sequence[Buffer]
) -> Lowered:
    a, b = required(node, 0), required(node, 1)
    if len(a.shape) < 2 or len(b.shape) < 2:
        return "an operand is no matrix"
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left, right, y = builder.rows(a), builder.rows(b), builder.new_rows(node[0])
    (rows, k), n = a.shape[-2:], b.shape[-1]
    fields: dict[str, Field | Record] = {
        "a": place_of(left),
        "b": place_of(right),
        "y": place_of(y),
        "rows": rows,
        "n": n,
        "k": k,
        "axes": len(batch),
        "places": places(builder, batch, _batch_strides(a.shape, batch), _batch_strides(b.shape, batch))
        if batch
        else 0,
        **zeros,
    }
    builder.emit(
        Layer(node.name, node.op, kernel.name),
        kernel,
        Record(MATMUL, fields),
        tiles=math.prod(batch) * rows,
        reads=(*buffers(left), *buffers(right), *zero_buffers),
        writes=buffers(y),
        tile_ns=0.05 * n * k + 10,
    )
    return None


def _matmul(node: Node, builder: Builder) -> Lowered:
    if any(value is None or value.dtype != F32 for value in node.inputs):
        return "it is not float32"
    return _emit_product(node, builder, multiply, {}, ())


def _matmul_integer(node: Node, builder: Builder) -> Lowered:
    a, b, a_zero, b_zero = required(node, 0), required(node, 1), optional(node, 2), optional(node, 3)
    if a_zero is not None and math.prod(a_zero.shape) != 1:
        return "it has a zero point for each row"
    if b_zero is not None and b_zero.shape not in ((), (1,), (b.shape[-1],)):
        return "its zero points are neither one nor one for each column"
    fields: dict[str, Field] = {}
    read: list[Buffer] = []
    for name, zero in (("a_zero", a_zero), ("b_zero", b_zero)):
        if zero is not None:
            tensor = builder.rows(zero)
            fields[name] = place_of(tensor)
            read += buffers(tensor)
    if b_zero is not None:
        fields["b_zero_stride"] = 0 if math.prod(b_zero.shape) == 1 else 1
    return _emit_product(node, builder, INTEGER_KERNELS[a.dtype, b.dtype], fields, read)


# -- along axes
def _running_sum(node: Node, builder: Builder) -> Lowered:
    value, along = required(node, 0), required(node, 1).array
    kind = _KINDS.get(value.dtype)
    if kind is None or along is None:
        return "its axis depends on data, or its numbers are of another kind"
    axis = int(along.reshape(())) % len(value.shape)
    strides = row_strides(value.shape, value.dtype.itemsize)
    x, y = builder.rows(value), builder.new_rows(node[0])
    backwards = bool(node.attrs.get("reverse"))
    start = (value.shape[axis] - 1) * strides[axis] if backwards else 0
    others = [a for a in range(len(value.shape)) if a != axis]
    fields: dict[str, Field | Record] = {
        "x": place_of(x).shifted(start),
        "y": place_of(y).shifted(start),
        "count": value.shape[axis],
        "step": -strides[axis] if backwards else strides[axis],
        "exclusive": int(bool(node.attrs.get("exclusive"))),
        "axes": len(others),
        "places": places(builder, [value.shape[a] for a in others], [strides[a] for a in others])
        if others
        else 0,
    }
    builder.emit(
        Layer(node.name, node.op, RUNNING_KERNELS[kind].name),
        RUNNING_KERNELS[kind],
        Record(RUNNING, fields),
        tiles=math.prod(value.shape[a] for a in others),
        reads=buffers(x),
        writes=buffers(y),
        tile_ns=10.0 + 2.0 * value.shape[axis],
    )
    return None


def _reduce(node: Node, builder: Builder) -> Lowered:
    value: Value = required(node, 0)
    kernel = REDUCE_KERNELS.get((node.op, _KINDS.get(value.dtype, "")))
    if kernel is None:
        return f"no kernel for {node.op} of {value.dtype}"
    strides = row_strides(value.shape, value.dtype.itemsize)
    gone = sorted(node.attrs["axes"])
    if node.op in _SUMS and builder.is_panel(value) and gone == [1] and len(value.shape) == 3:
        sum_positions(node, builder, None, value.shape[1] if node.op == "ReduceMean" else 1)
        return None
    kept = [axis for axis in range(len(value.shape)) if axis not in gone]
    *leading, last = gone or [-1]
    x, y = builder.rows(value), builder.new_rows(node[0])
    count = value.shape[last] if gone else 1
    while leading and strides[leading[-1]] == count * strides[last]:
        # Neighbours that go together are one line.
        count *= value.shape[leading.pop()]
    fields: dict[str, Field | Record] = {
        "x": place_of(x),
        "y": place_of(y),
        "axes": len(kept),
        "places": places(builder, [value.shape[a] for a in kept], [strides[a] for a in kept]) if kept else 0,
        "count": count,
        "stride": strides[last] if gone else 0,
        "outer": math.prod(value.shape[a] for a in leading),
        "inner_axes": len(leading),
        "inner_places": places(builder, [value.shape[a] for a in leading], [strides[a] for a in leading])
        if leading
        else 0,
    }
    builder.emit(
        Layer(node.name, node.op, kernel.name),
        kernel,
        Record(REDUCE, fields),
        tiles=math.prod(value.shape[a] for a in kept),
        reads=buffers(x),
        writes=buffers(y),
        tile_ns=10.0 + 1.0 * count * math.prod(value.shape[a] for a in leading),
        scratch=SCRATCH,
    )
    return None


LOWERINGS = (
    OpLowering("CumSum", _running_sum),
    OpLowering("MatMul", _matmul),
    OpLowering("MatMulInteger", _matmul_integer),
    *(OpLowering(op, _reduce) for op in sorted(REDUCTIONS)),
)
