"""Products of matrices, in floating point and in integers."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import INT32, Attrs, Inputs, Op, Shape, common_dtype, fixed_dtype, given, need
from engine.graph.ops.quantization import requantize


def product_shape(a: Shape, b: Shape) -> Shape:
    """Shape of the matrix product of `a` and `b`, NumPy's rule. Raises ValueError when they do not fit."""
    need(len(a) > 0 and len(b) > 0, "a product needs operands of rank 1 or more")
    left = a if len(a) > 1 else (1, *a)
    right = b if len(b) > 1 else (*b, 1)
    need(left[-1] == right[-2], f"shapes {list(a)} and {list(b)} do not multiply")
    shape = (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1])
    if len(a) == 1:
        shape = (*shape[:-2], shape[-1])
    return shape[:-1] if len(b) == 1 else shape


def exact_product(a: Array, b: Array) -> Array:
    """Matrix product of integer arrays as int32, wrapping beyond 32 bits.

    float64 holds every sum exactly below 2^53, which 8-bit operands reach after 2^37 terms; BLAS is quick.
    """
    sums = np.matmul(a.astype(np.float64), b.astype(np.float64))
    return np.asarray(sums.astype(np.int64).astype(np.int32))


def centred(x: Array, zero_point: Array | None, axis: int) -> Array:
    """x - zero_point as int32; a zero point of rank 1 runs along `axis`."""
    if zero_point is None:
        return x.astype(np.int32)
    zero = zero_point.astype(np.int32)
    if zero.ndim == 1 and zero.size > 1:
        zero = zero.reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])
    elif zero.size == 1:
        zero = zero.reshape(())
    return np.asarray(x.astype(np.int32) - zero)


def _product_shapes(_attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    return (product_shape(given(inputs, 0).shape, given(inputs, 1).shape),)


def _gemm(attrs: Attrs, a: Array, b: Array, c: Array | None = None) -> tuple[Array, ...]:
    y = (a.T if attrs["transA"] else a) @ (b.T if attrs["transB"] else b)
    if attrs["alpha"] != 1:
        y = y * np.asarray(attrs["alpha"], y.dtype)
    if c is None:
        return (y,)
    return (np.asarray(y + (c if attrs["beta"] == 1 else c * np.asarray(attrs["beta"], c.dtype))),)


def _gemm_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    a, b = given(inputs, 0).shape, given(inputs, 1).shape
    need(len(a) == len(b) == 2, "Gemm multiplies matrices")
    return (product_shape(a[::-1] if attrs["transA"] else a, b[::-1] if attrs["transB"] else b),)


def _product_of_integers(
    _attrs: Attrs, a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None
) -> tuple[Array, ...]:
    return (exact_product(centred(a, a_zero, -2), centred(b, b_zero, -1)),)


def _quantised_product(_attrs: Attrs, *arrays: Array) -> tuple[Array, ...]:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = arrays
    sums = exact_product(centred(a, a_zero, -2), centred(b, b_zero, -1))
    rows = a_scale.reshape(-1, 1) if a_scale.size > 1 else a_scale
    return (requantize(sums, rows, b_scale, y_scale, y_zero),)


def _quantised_shape(_attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    return (product_shape(given(inputs, 0).shape, given(inputs, 3).shape),)


ROWS = (
    Op("Gemm", _gemm, common_dtype, _gemm_shape, (2, 3)),
    Op("MatMul", lambda _attrs, a, b: (np.asarray(np.matmul(a, b)),), common_dtype, _product_shapes, (2, 2)),
    Op("MatMulInteger", _product_of_integers, fixed_dtype(INT32), _product_shapes, (2, 4)),
    Op(
        "QLinearMatMul",
        _quantised_product,
        lambda _attrs, inputs: (given(inputs, 7).dtype,),
        _quantised_shape,
        (8, 8),
    ),
)
