"""A product of float32 activations and weights of few bits.

weight_only_linear(x[..., k], w i8 | u8, scale[m, blocks], zero[m, blocks], bias[m]?, residual[..., m]?)
    activation(x.((w - zero) scale) + bias + residual), stored; `block` features of a row share a scale and a
    zero point, which has w's dtype; the last block may be cut.      attrs: as linear, and block
"""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import FLOAT32, INT8, UINT8, Attrs, Inputs, Op, Shape, given, need
from engine.graph.ops.fused import EPILOGUE, columns, finished, linear_shape, stored_dtype


def _evaluate(
    attrs: Attrs,
    x: Array,
    w: Array,
    scale: Array,
    zero: Array,
    bias: Array | None = None,
    residual: Array | None = None,
) -> tuple[Array, ...]:
    numbers = columns(attrs, w).astype(np.float32)
    scales, zeros = (
        np.repeat(part.astype(np.float32), attrs["block"], axis=1)[:, : len(numbers)].T
        for part in (scale, zero)
    )
    return finished(attrs, np.matmul(x, (numbers - zeros) * scales), bias, residual)


def _shapes(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    x, w, scale, zero = (given(inputs, index) for index in range(4))
    need(x.dtype == FLOAT32 and w.dtype in (INT8, UINT8), "x must be float32, w 8 bits wide")
    shape = linear_shape(attrs, inputs, ((4, FLOAT32),), 5)
    blocks = -(-x.shape[-1] // attrs["block"])
    need(scale.array is not None and zero.array is not None, "scale and zero must be constant")
    need(scale.dtype == FLOAT32 and zero.dtype == w.dtype, "scale must be float32, zero of w's dtype")
    need(scale.shape == zero.shape == (shape[-1], blocks), f"scale and zero must be [{shape[-1]}, {blocks}]")
    return (shape,)


ROWS = (Op("weight_only_linear", _evaluate, stored_dtype, _shapes, (4, 6), attributes=EPILOGUE | {"block"}),)
