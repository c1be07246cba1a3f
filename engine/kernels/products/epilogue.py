"""What happens to a strip of sums before it leaves the cache: one small program for all products.

    sums (int32 or float32, in scratch, [row][lane])
      -> float32, * scale[row]       integer sums only
      -> rounded to 8 bits and back  where the graph quantises the product on its own
      -> + bias[row] (+ residual)
      -> activation
      -> f32 panel | u8 quads | whole numbers around the zero point, as an f32 panel

The program is data (`EPILOGUE`); its steps are loops over a few KiB that are hot in L1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, record
from engine.kernels.simd.arithmetic import (
    clamp_to_byte,
    fused_multiply_add,
    least,
    maximum,
    round_even,
    splat_f32,
    splat_i32,
    to_float,
    to_int,
)
from engine.kernels.simd.arithmetic import minimum as lesser
from engine.kernels.simd.mathematics import gelu, gelu_tanh, hyperbolic_tangent, sigmoid
from engine.kernels.simd.memory import load_f32, load_i32, read_f32, store_f32, store_i32

# Numbers of the activations, as the epilogue's record and the lowering know them.
ACTIVATIONS = {"none": 0, "relu": 1, "gelu": 2, "gelu_tanh": 3, "tanh": 4, "sigmoid": 5}
# Forms of the result.
STORE_F32, STORE_QUANTIZED, STORE_CENTRED = 0, 1, 2

EPILOGUE = np.dtype(
    [
        ("m", np.int64),  # rows of the result; a strip's rows beyond are dropped
        ("integer", np.int64),  # 1: sums are int32
        ("scale", np.int64),  # address of float32 scale[row]
        ("scale_stride", np.int64),  # 4, or 0 for one scale
        ("product_zero", np.int64),
        ("bias", np.int64),  # address of float32 bias[row], or 0
        ("residual", np.int64),  # address of an f32 panel, or 0
        ("residual_panel", np.int64),  # bytes from panel to panel
        ("activation", np.int64),
        ("store", np.int64),
        ("y", np.int64),
        ("y_panel", np.int64),
        ("row_bytes", np.int64),  # of a panel's row: 4 x width
        ("zero_point", np.int64),
        ("step", np.float32),  # quantisation scale of the result
        ("product_step", np.float32),  # quantisation scale of the product alone; 0: none
    ],
    align=True,
)
epilogue_of = record(EPILOGUE)


@inner
def _to_float(e: Any, sums: int, stride: int, row: int, rows: int, lane_bytes: int) -> None:
    """int32 sums to float32, scaled: one rounding by the conversion (beyond 2**24), one by the product."""
    for r in range(rows):
        scale = splat_f32(read_f32(e.scale + (row + r) * e.scale_stride))
        at = sums + r * stride
        for lane in range(0, lane_bytes, 64):
            store_f32(to_float(load_i32(at + lane)) * scale, at + lane)


@inner
def _add_bias(e: Any, sums: int, stride: int, row: int, rows: int, lane_bytes: int) -> None:
    for r in range(rows):
        bias = splat_f32(read_f32(e.bias + (row + r) * 4))
        at = sums + r * stride
        for lane in range(0, lane_bytes, 64):
            store_f32(load_f32(at + lane) + bias, at + lane)


@inner
def _add_residual(e: Any, sums: int, stride: int, residual: int, rows: int, lane_bytes: int) -> None:
    for r in range(rows):
        for lane in range(0, lane_bytes, 64):
            at = sums + r * stride + lane
            store_f32(load_f32(at) + load_f32(residual + r * e.row_bytes + lane), at)


@inner
def _activate(e: Any, sums: int, stride: int, rows: int, lane_bytes: int) -> None:
    activation = e.activation
    for r in range(rows):
        for lane in range(0, lane_bytes, 64):
            at = sums + r * stride + lane
            x = load_f32(at)
            if activation == 1:
                y = maximum(x, splat_f32(np.float32(0)))
            elif activation == 2:
                y = gelu(x)
            elif activation == 3:
                y = gelu_tanh(x)
            elif activation == 4:
                y = hyperbolic_tangent(x)
            else:
                y = sigmoid(x)
            store_f32(y, at)


@inner
def divided(x: Any, step: Any, inverse: Any) -> Any:
    """x / step, correctly rounded, for `inverse` = 1 / step correctly rounded and quotients far from both ends of float32.

    The residual of the first quotient is exact by the fused multiply-add, and corrects it (Markstein 1990).
    """
    quotient = x * inverse
    return fused_multiply_add(
        fused_multiply_add(splat_f32(np.float32(0)) - quotient, step, x), inverse, quotient
    )


@inner
def quantized(x: Any, step: Any, zero_point: Any) -> Any:
    """clamp(rint(x / step) + zero_point, 0, 255) as int32, as QuantizeLinear says; NaN gives the zero point's side 0."""
    # Bounded before the division and the conversion to int, which infinities do not survive.
    bound = step * splat_f32(np.float32(1024))
    bounded = lesser(maximum(x, splat_f32(np.float32(0)) - bound), bound)
    whole = round_even(divided(bounded, step, splat_f32(np.float32(1)) / step))
    return clamp_to_byte(to_int(whole) + zero_point)


@inner
def rounded(x: Any, step: Any, zero_point: Any) -> Any:
    """x quantised and dequantised again."""
    return to_float(quantized(x, step, zero_point) - zero_point) * step


@inner
def _round_product(e: Any, sums: int, stride: int, rows: int, lane_bytes: int) -> None:
    step, zero_point = splat_f32(e.product_step), splat_i32(e.product_zero)
    for r in range(rows):
        for lane in range(0, lane_bytes, 64):
            at = sums + r * stride + lane
            store_f32(rounded(load_f32(at), step, zero_point), at)


@inner
def quad_of(sums: int, stride: int, rows: int, step: Any, zero_point: Any) -> Any:
    """Four rows of one vector of lanes as u8 quads; rows that do not exist give bytes of 0."""
    quad = quantized(load_f32(sums), step, zero_point)
    if rows > 1:
        quad = quad | (quantized(load_f32(sums + stride), step, zero_point) << splat_i32(8))
    if rows > 2:
        quad = quad | (quantized(load_f32(sums + 2 * stride), step, zero_point) << splat_i32(16))
    if rows > 3:
        quad = quad | (quantized(load_f32(sums + 3 * stride), step, zero_point) << splat_i32(24))
    return quad


@inner
def store_rows(e: Any, sums: int, stride: int, row: int, rows: int, y: int, lane_bytes: int) -> None:
    """Store finished float32 rows in the epilogue's form.

    row     first row, a multiple of 4
    y       address of the result's row 0, first lane
    """
    step, zero_point = splat_f32(e.step), splat_i32(e.zero_point)
    if e.store == STORE_QUANTIZED:
        for r in range(0, rows, 4):
            for lane in range(0, lane_bytes, 64):
                quad = quad_of(sums + r * stride + lane, stride, rows - r, step, zero_point)
                store_i32(quad, y + (row + r) // 4 * e.row_bytes + lane)
    elif e.store == STORE_CENTRED:
        for r in range(rows):
            for lane in range(0, lane_bytes, 64):
                whole = quantized(load_f32(sums + r * stride + lane), step, zero_point) - zero_point
                store_f32(to_float(whole), y + (row + r) * e.row_bytes + lane)
    else:
        for r in range(rows):
            for lane in range(0, lane_bytes, 64):
                store_f32(load_f32(sums + r * stride + lane), y + (row + r) * e.row_bytes + lane)


@inner
def finish(address: int, sums: int, row: int, rows: int, panel: int) -> None:
    """Run the program at `address` over sums[rows][panel width] of one panel, rows `row` and on."""
    e = epilogue_of(address)
    stride = e.row_bytes
    present = least(rows, e.m - row)
    if e.integer != 0:
        _to_float(e, sums, stride, row, present, stride)
    if e.product_step != np.float32(0):
        _round_product(e, sums, stride, present, stride)
    if e.bias != 0:
        _add_bias(e, sums, stride, row, present, stride)
    if e.residual != 0:
        residual = e.residual + panel * e.residual_panel + row * stride
        _add_residual(e, sums, stride, residual, present, stride)
    if e.activation != 0:
        _activate(e, sums, stride, present, stride)
    store_rows(e, sums, stride, row, present, e.y + panel * e.y_panel, stride)
