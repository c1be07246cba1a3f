"""A product whose activations were quantised by a scale and zero point found at run time.

dynamic_quantized_linear(xq u8[..., k], x_scale, x_zero u8, w i8 | u8, w_scale[1 | m], bias[m]?, residual[..., m]?)
    p = f32(sum of (xq - x_zero)(w - weight_zero)) * (x_scale * w_scale), the sum exact in int32
    activation(p + bias + residual), stored.      attrs: as linear, and weight_zero
"""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import FLOAT32, INT8, UINT8, Attrs, Inputs, Op, Shape, given, need
from engine.graph.ops.fused import EPILOGUE, columns, finished, is_vector, linear_shape, stored_dtype
from engine.graph.ops.product import exact_product


def _evaluate(
    attrs: Attrs,
    xq: Array,
    x_scale: Array,
    x_zero: Array,
    w: Array,
    w_scale: Array,
    *addends: Array | None,
) -> tuple[Array, ...]:
    bias, residual = (*addends, None, None)[:2]
    weights = columns(attrs, w).astype(np.int32) - attrs["weight_zero"]
    sums = exact_product(xq.astype(np.int32) - x_zero.astype(np.int32).reshape(()), weights)
    factor = x_scale.reshape(()) * w_scale
    return finished(attrs, sums.astype(np.float32) * factor, bias, residual)


def _shapes(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    x, scale, zero, w = (given(inputs, index) for index in range(4))
    need(x.dtype == UINT8 and w.dtype in (INT8, UINT8), "x must be uint8, w 8 bits wide")
    need(scale.dtype == FLOAT32 and int(np.prod(scale.shape)) == 1, "x_scale must be one float32")
    need(zero.dtype == UINT8 and int(np.prod(zero.shape)) == 1, "x_zero must be one uint8")
    operands = (x, w, None, None, inputs[5] if len(inputs) > 5 else None)
    shape = linear_shape(attrs, (*operands, inputs[6] if len(inputs) > 6 else None), ((4, FLOAT32),), 5)
    need(is_vector(given(inputs, 4), FLOAT32, 1, shape[-1]), "w_scale must be constant float32[1] or [m]")
    return (shape,)


ROWS = (
    Op(
        "dynamic_quantized_linear",
        _evaluate,
        stored_dtype,
        _shapes,
        (5, 7),
        attributes=EPILOGUE | {"weight_zero"},
    ),
)
