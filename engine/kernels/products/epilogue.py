"""What happens to a strip of sums before it leaves the cache: one small program for all products.

    sums (int32 or float32, in scratch, [row][lane])
      -> float32, * scale[row]       integer sums only
      -> rounded to 8 bits and back  where the graph quantises the product on its own
      -> + bias[row]
      -> rounded to 8 bits and back  where the graph quantises this sum
      -> + residual
      -> activation
      -> f32 panel, or bfloat16 (a plane or rows), or both  | u8 quads  | whole numbers around the zero point, as f32 panel:
         so, or dequantised

The program is data (`EPILOGUE`); the sums, a few KiB that are hot in L1, are read once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from engine.jit import inner, record
from engine.kernels.bf16_planes.rows import ROW_BYTES, row_place, vector_place
from engine.kernels.bf16_planes.split import pair_of, store_half
from engine.kernels.products.activation import activated
from engine.kernels.products.direct import direct_of, finish_directly
from engine.kernels.simd.arithmetic import (
    MAGIC,
    MAGIC_BITS,
    bits_of,
    fused_multiply_add,
    least,
    maximum,
    negative,
    splat_f32,
    splat_i32,
    to_float,
)
from engine.kernels.simd.arithmetic import minimum as lesser
from engine.kernels.simd.memory import load_f32, read_f32, store_f32, store_i32

# Forms of the result.
STORE_F32: int = 0
STORE_QUANTIZED: int = 1
STORE_CENTRED: int = 2
STORE_ROUNDED: int = 3

EPILOGUE = np.dtype(
    [
        ("m", np.int64),  # rows of the result; a strip's rows beyond are dropped
        ("integer", np.int64),  # 1: sums are int32
        ("scale", np.int64),  # address of float32 scale[row]
        ("scale_stride", np.int64),  # 4, or 0 for one scale
        ("product_zero", np.int64),
        ("bias", np.int64),  # address of float32 bias[row], or 0
        ("residual", np.int64),  # address of an f32 panel, or of quads, or 0
        ("residual_panel", np.int64),  # bytes from panel to panel
        ("activation", np.int64),
        ("store", np.int64),
        ("y", np.int64),  # 0, where only planes are wanted
        ("y_panel", np.int64),
        (
            "planes",
            np.int64,
        ),  # address of bfloat16 (see bf16_planes), or 0: pairs; one plane, m then a multiple of 32; or rows
        ("planes_panel", np.int64),  # bytes from panel to panel,
        ("planes_vector", np.int64),  # from vector to vector of a panel (0: these are rows),
        ("planes_row", np.int64),  # and from pair to pair
        ("row_bytes", np.int64),  # of a panel's row: 4 x width
        ("zero_point", np.int64),
        ("step", np.float32),  # quantisation scale of the result
        ("product_step", np.float32),  # quantisation scale of the product alone; 0: none
        ("residual_zero", np.int64),
        ("residual_step", np.float32),  # quantisation scale of a residual in quads; 0: it is an f32 panel
        ("first_number", np.float32),  # that the activation takes: a slope, or the lower bound
        ("second_number", np.float32),  # an offset, or the upper bound
        ("product_scale", np.float32),  # by which the rounded product is dequantised; 0: by product_step
        ("summed_step", np.float32),  # quantisation scale of product and bias; 0: none
        ("summed_zero", np.int64),
        ("finisher", np.int64),  # address of the kernel that runs this program (see finishers)
        ("least", np.int64),  # bytes that an activation leaves, where it bounds numbers only (see requantise)
        ("most", np.int64),
        ("inverse", np.float32),  # 1 / step
        ("product_inverse", np.float32),
        ("curve", np.int64),  # address of the coefficients of activation "curve" (see curve.py)
    ],
    align=True,
)
epilogue_of = record(EPILOGUE)


@inner
def divided(x: Any, step: Any, inverse: Any) -> Any:
    """x / step, correctly rounded, for `inverse` = 1 / step correctly rounded and quotients far from both ends of float32.

    The residual of the first quotient is exact by the fused multiply-add, and corrects it (Markstein 1990).
    """
    quotient = x * inverse
    return fused_multiply_add(fused_multiply_add(negative(quotient), step, x), inverse, quotient)


@inner
def quantized(x: Any, step: Any, zero_point: Any) -> Any:
    """clamp(rint(x / step) + zero_point, 0, 255) as int32, as QuantizeLinear says; NaN gives the zero point's side 0.

    x is bounded first, to what the ends of the range stand for: infinities do not survive the division, and
    the quotient then lies within the range, where adding 1.5 * 2**23 rounds half to even into the low bits.
    """
    zero = to_float(zero_point)
    low, high = negative(zero) * step, (splat_f32(np.float32(255)) - zero) * step
    bounded = lesser(maximum(x, low), high)
    whole = divided(bounded, step, splat_f32(np.float32(1)) / step) + splat_f32(MAGIC)
    return bits_of(whole) - (splat_i32(MAGIC_BITS) - zero_point)


@inner
def rounded(x: Any, step: Any, zero_point: Any) -> Any:
    """x quantised and dequantised again."""
    return to_float(quantized(x, step, zero_point) - zero_point) * step


class Program(NamedTuple):
    """The fields of a record that the loops need: read once, as nothing tells the compiler that stores leave them alone."""

    integer: int
    scale: int
    scale_stride: int
    product_zero: int
    bias: int
    residual: int
    residual_zero: int
    activation: int
    store: int
    zero_point: int
    step: Any
    product_step: Any
    product_scale: Any
    summed_step: Any
    summed_zero: int
    residual_step: Any
    first_number: Any
    second_number: Any
    curve: int


@inner
def program_of(e: Any) -> Program:
    """The record's fields."""
    return known_program(e, e.integer, e.activation, e.store)


@inner
def known_program(e: Any, integer: int, activation: int, store: int) -> Program:
    """The record's fields, but for three that may be constants to the compiler."""
    return Program(
        integer,
        e.scale,
        e.scale_stride,
        e.product_zero,
        e.bias,
        e.residual,
        e.residual_zero,
        activation,
        store,
        e.zero_point,
        e.step,
        e.product_step,
        e.product_scale,
        e.summed_step,
        e.summed_zero,
        e.residual_step,
        e.first_number,
        e.second_number,
        e.curve,
    )


@inner
def row_scale(p: Any, row: int) -> Any:
    """What a row's integer sums are multiplied by."""
    scale = splat_f32(np.float32(1))
    if p.integer != 0:
        scale = splat_f32(read_f32(p.scale + row * p.scale_stride))
    return scale


@inner
def row_bias(p: Any, row: int) -> Any:
    """What is added to a row."""
    bias = splat_f32(np.float32(0))
    if p.bias != 0:
        bias = splat_f32(read_f32(p.bias + row * 4))
    return bias


@inner
def addend_row(p: Any, residual: int, row: int, row_bytes: int) -> int:
    """The address of a row of the residual: of its quad, where it is bytes."""
    return residual + (row if p.residual_step == np.float32(0) else row // 4) * row_bytes


@inner
def addend_of(p: Any, at: int, row: int) -> Any:
    """Sixteen numbers of the residual, at their address: see addend_row."""
    x = load_f32(at)
    if p.residual_step != np.float32(0):
        byte = (bits_of(x) >> splat_i32(8 * (row % 4))) & splat_i32(255)
        x = to_float(byte - splat_i32(p.residual_zero)) * splat_f32(p.residual_step)
    return x


@inner
def value_of(p: Any, x: Any, row: int, scale: Any, bias: Any, residual: int) -> Any:
    """The program up to the activation, for the sums x (or their bits) of one row and sixteen lanes.

    int32 sums are scaled with one rounding by the conversion (beyond 2**24) and one by the product.
    """
    if p.integer != 0:
        x = to_float(bits_of(x)) * scale
    if p.product_step != np.float32(0):
        zero = splat_i32(p.product_zero)
        factor = p.product_scale if p.product_scale != np.float32(0) else p.product_step
        x = to_float(quantized(x, splat_f32(p.product_step), zero) - zero) * splat_f32(factor)
    if p.bias != 0:
        x = x + bias
    if p.summed_step != np.float32(0):
        x = rounded(x, splat_f32(p.summed_step), splat_i32(p.summed_zero))
    if p.residual != 0:
        x = x + addend_of(p, residual, row)
    return activated(p, x)


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
def factor_of(e: Any) -> Any:
    """What whole numbers are multiplied by before they are stored as float32."""
    return e.step if e.store == STORE_ROUNDED else np.float32(1)


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
    elif e.store != STORE_F32:
        factor = splat_f32(factor_of(e))
        for r in range(rows):
            for lane in range(0, lane_bytes, 64):
                whole = quantized(load_f32(sums + r * stride + lane), step, zero_point) - zero_point
                store_f32(to_float(whole) * factor, y + (row + r) * e.row_bytes + lane)
    else:
        for r in range(rows):
            for lane in range(0, lane_bytes, 64):
                store_f32(load_f32(sums + r * stride + lane), y + (row + r) * e.row_bytes + lane)


@inner
def _finish_four(
    p: Any, at: int, stride: int, row: int, residual: int, row_bytes: int, y: int, end: int
) -> None:
    """Four rows, as one row of quads."""
    step, zero_point = splat_f32(p.step), splat_i32(p.zero_point)
    s0, s1 = row_scale(p, row), row_scale(p, row + 1)
    s2, s3 = row_scale(p, row + 2), row_scale(p, row + 3)
    b0, b1, b2, b3 = row_bias(p, row), row_bias(p, row + 1), row_bias(p, row + 2), row_bias(p, row + 3)
    r0, r1 = addend_row(p, residual, row, row_bytes), addend_row(p, residual, row + 1, row_bytes)
    r2, r3 = addend_row(p, residual, row + 2, row_bytes), addend_row(p, residual, row + 3, row_bytes)
    for lane in range(0, end, 64):
        x = at + lane
        quad = quantized(value_of(p, load_f32(x), row, s0, b0, r0 + lane), step, zero_point)
        more = quantized(value_of(p, load_f32(x + stride), row + 1, s1, b1, r1 + lane), step, zero_point)
        quad = quad | (more << splat_i32(8))
        more = quantized(value_of(p, load_f32(x + 2 * stride), row + 2, s2, b2, r2 + lane), step, zero_point)
        quad = quad | (more << splat_i32(16))
        more = quantized(value_of(p, load_f32(x + 3 * stride), row + 3, s3, b3, r3 + lane), step, zero_point)
        store_i32(quad | (more << splat_i32(24)), y + lane)


@inner
def _finish_quads(
    e: Any, p: Any, sums: int, stride: int, row: int, rows: int, residual: int, y: int, lane_bytes: int
) -> None:
    row_bytes = e.row_bytes
    step, zero_point = splat_f32(p.step), splat_i32(p.zero_point)
    whole = rows // 4 * 4
    for first in range(0, whole, 4):
        at, place = sums + first * stride, y + first // 4 * row_bytes
        _finish_four(p, at, stride, row + first, residual, row_bytes, place, lane_bytes)
    for lane in range(0, lane_bytes if rows > whole else 0, 64):
        quad = splat_i32(0)
        # The last of them first: each moves up as the one before it arrives.
        for r in range(rows - 1, whole - 1, -1):
            scale, bias = row_scale(p, row + r), row_bias(p, row + r)
            addend = addend_row(p, residual, row + r, row_bytes) + lane
            x = value_of(p, load_f32(sums + r * stride + lane), row + r, scale, bias, addend)
            quad = (quad << splat_i32(8)) | quantized(x, step, zero_point)
        store_i32(quad, y + whole // 4 * row_bytes + lane)


@inner
def store_bf16(e: Any, sums: int, stride: int, row: int, rows: int, vector: int, lane_bytes: int) -> None:
    """Finished rows, from the sums' place, as bfloat16.

    row      even
    vector   of sixteen lanes, counted over all panels: the first of `lane_bytes`
    """
    if e.planes_vector == 0:
        for r in range(rows):
            for lane in range(0, lane_bytes, 64):
                y = row_place(e.planes, e.m * ROW_BYTES, vector + lane // 64) + (row + r) * ROW_BYTES
                store_half(load_f32(sums + r * stride + lane), y)
    else:
        for r in range(0, rows, 2):
            y = vector_place(e, vector) + (row + r) // 2 * e.planes_row
            for lane in range(0, lane_bytes, 64):
                at, odd = sums + r * stride + lane, splat_f32(np.float32(0))
                if r + 1 < rows:
                    odd = load_f32(at + stride)
                store_i32(pair_of(load_f32(at), odd), y + lane // 64 * e.planes_vector)


@inner
def _finish_floats(
    e: Any, p: Any, sums: int, stride: int, row: int, rows: int, residual: int, y: int, lane_bytes: int
) -> None:
    row_bytes = e.row_bytes
    step, zero_point, factor = splat_f32(p.step), splat_i32(p.zero_point), splat_f32(factor_of(e))
    for r in range(rows):
        scale, bias = row_scale(p, row + r), row_bias(p, row + r)
        addend = addend_row(p, residual, row + r, row_bytes)
        for lane in range(0, lane_bytes, 64):
            x = value_of(p, load_f32(sums + r * stride + lane), row + r, scale, bias, addend + lane)
            if p.store != STORE_F32:
                x = to_float(quantized(x, step, zero_point) - zero_point) * factor
            if e.y != 0:
                store_f32(x, y + r * row_bytes + lane)
            if e.planes != 0:
                store_f32(x, sums + r * stride + lane)


@inner
def places_of(e: Any, lane: int) -> Any:
    """Addresses of lane `lane`, counted over all panels, in row 0 of its panel: of the result, and of the residual."""
    panel = 4 * lane // e.row_bytes
    within = 4 * lane - panel * e.row_bytes
    return e.y + panel * e.y_panel + within, e.residual + panel * e.residual_panel + within


@inner
def run_program(e: Any, p: Any, sums: int, stride: int, row: int, rows: int, lane: int, lanes: int) -> None:
    """Run the program over sums[rows][lanes], which belong to lanes `lane` and on of one panel.

    stride        bytes from one row of sums to the next
    row           a multiple of 4
    lane, lanes   multiples of 16, counted over all panels
    """
    present = least(rows, e.m - row)
    y, residual = places_of(e, lane)
    if p.store == STORE_QUANTIZED:
        _finish_quads(e, p, sums, stride, row, present, residual, y + row // 4 * e.row_bytes, 4 * lanes)
    else:
        y, d = y + row * e.row_bytes, direct_of(e, p.integer, p.activation, p.store)
        if d.on != 0:
            finish_directly(d, sums, stride, row, present, residual + row * e.row_bytes, y, 4 * lanes)
        else:
            _finish_floats(e, p, sums, stride, row, present, residual, y, 4 * lanes)
            if e.planes != 0:
                store_bf16(e, sums, stride, row, present, lane // 16, 4 * lanes)
