"""The second reading of a norm, of any numbers: y = (x - mean) * factor * gain + bias in the forms that others read.

f32 panel             with `rounded` the numbers that the bytes stand for
u8 quads              with or without the panel; by bounded.py where lowering has found bounds
pairs of bfloat16     with or without the panel
"""

from __future__ import annotations

from typing import Any

from engine.jit import inner
from engine.kernels.bf16_planes.split import pair_of
from engine.kernels.norm.moments import FACTORS
from engine.kernels.norm.tile import bias_of, gain_of, normalised
from engine.kernels.products.epilogue import quantized
from engine.kernels.simd.arithmetic import fused_multiply_add, least, splat_f32, splat_i32, to_float
from engine.kernels.simd.memory import load_f32, store_f32, store_i32


@inner
def write_floats(t: Any) -> None:
    """The panel, a vector of lanes after the other."""
    for lane in range(0, t.end, 64):
        mean, factor = load_f32(t.moments + lane), load_f32(t.moments + FACTORS + lane)
        for row in range(t.k):
            at = row * t.row_bytes + lane
            scaled = (load_f32(t.x + at) - mean) * factor
            store_f32(fused_multiply_add(scaled, gain_of(t, row), bias_of(t, row)), t.y + at)


@inner
def write_planes(t: Any, planes: int, vector_bytes: int, pair_bytes: int) -> None:
    """The panel, where there is one, and the plane: pairs of rows, of which the first is at `planes`."""
    for row in range(0, t.k, 2):
        first_gain, second_gain = gain_of(t, row), gain_of(t, row + 1)
        first_bias, second_bias = bias_of(t, row), bias_of(t, row + 1)
        for lane in range(0, t.end, 64):
            at = row * t.row_bytes + lane
            even = normalised(t, at, lane, first_gain, first_bias)
            odd = normalised(t, at + t.row_bytes, lane, second_gain, second_bias)
            if t.y != 0:
                store_f32(even, t.y + at)
                store_f32(odd, t.y + at + t.row_bytes)
            store_i32(pair_of(even, odd), planes + row // 2 * pair_bytes + lane // 64 * vector_bytes)


@inner
def write_quads(t: Any) -> None:
    """The panel, where there is one, and the quads."""
    step, zero_point = splat_f32(t.step), splat_i32(t.zero_point)
    for first in range(0, t.k, 4):
        for lane in range(0, t.end, 64):
            quad = splat_i32(0)
            # The last of four first: each moves up as the one before it arrives.
            for row in range(least(first + 4, t.k) - 1, first - 1, -1):
                at = row * t.row_bytes + lane
                value = normalised(t, at, lane, gain_of(t, row), bias_of(t, row))
                whole = quantized(value, step, zero_point)
                quad = (quad << splat_i32(8)) | whole
                if t.rounded != 0:
                    value = to_float(whole - zero_point) * step
                if t.y != 0:
                    store_f32(value, t.y + at)
            store_i32(quad, t.quads + first // 4 * t.row_bytes + lane)
