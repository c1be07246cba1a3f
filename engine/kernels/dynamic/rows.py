"""Quantisation whose scale and zero point follow from the numbers themselves, as DynamicQuantizeLinear says.

    find_ranges          f32 panel -> lowest and highest number of each lane, sixteen lanes a tile
    find_parameters      those -> one scale and zero point:  s = (high - low) / 255, z = rint(-low / s), low <= 0 <= high
    quantize_by          f32 panel -> u8 quads by them
    product_parameters   them and a matrix' own scales and row sums -> what an integer product starts from and is scaled by

The product is sum of (xq - z) w = (sum of xq w) - z * (sum of w): sums begin at the last term, and the product's own
kernels need not know that the parameters are younger than the weights.
"""

from __future__ import annotations

import numpy as np

from engine.jit import kernel, record
from engine.kernels.products.epilogue import quad_of
from engine.kernels.simd.arithmetic import least, maximum, round_even, splat_f32, splat_i32
from engine.kernels.simd.arithmetic import minimum as lesser
from engine.kernels.simd.memory import (
    load_f32,
    load_i32,
    read_f32,
    read_u8,
    store_f32,
    store_i32,
    write_f32,
    write_u8,
)

# Lowest numbers of sixteen lanes, then their highest.
RANGE_BYTES = 128
ROWS = 256
LEVELS = np.float32(255)

RANGES = np.dtype([(name, np.int64) for name in ("x", "x_panel", "k", "row_bytes", "ranges")], align=True)
ranges_of = record(RANGES)

PARAMETERS = np.dtype(
    [(name, np.int64) for name in ("ranges", "vectors", "outer", "inner", "pitch", "scale", "zero_point")],
    align=True,
)
parameters_of = record(PARAMETERS)

QUANTIZE = np.dtype(
    [(name, np.int64) for name in ("x", "x_panel", "y", "y_panel", "k", "row_bytes", "scale", "zero_point")],
    align=True,
)
quantize_of = record(QUANTIZE)

PRODUCT = np.dtype(
    [
        *((name, np.int64) for name in ("scale", "zero_point", "m")),
        *((name, np.int64) for name in ("weight_scale", "weight_scale_stride", "row_sums")),
        *((name, np.int64) for name in ("start", "factor")),  # int32 [m], float32 [m]: the results
    ],
    align=True,
)
product_of = record(PRODUCT)


@kernel("find_ranges_f32", "1x16")
def find_ranges(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Sixteen lanes a tile; a NaN is passed over."""
    a = ranges_of(args)
    width = a.row_bytes // 4
    for index in range(tile_begin, tile_end):
        panel = 16 * index // width
        x = a.x + panel * a.x_panel + 4 * (16 * index - panel * width)
        low = high = splat_f32(np.float32(0))
        for row in range(a.k):
            value = load_f32(x + row * a.row_bytes)
            low, high = lesser(value, low), maximum(value, high)
        store_f32(low, a.ranges + index * RANGE_BYTES)
        store_f32(high, a.ranges + index * RANGE_BYTES + 64)


@kernel("find_parameters_f32")
def find_parameters(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """One tile. Padding lanes, whose numbers mean nothing, are left out."""
    a = parameters_of(args)
    low = high = np.float32(0)
    for index in range(a.vectors):
        sequence = 16 * index // a.pitch
        lanes = least(16, a.inner - (16 * index - sequence * a.pitch)) if sequence < a.outer else 0
        for lane in range(lanes):
            at = a.ranges + index * RANGE_BYTES + 4 * lane
            lowest, highest = read_f32(at), read_f32(at + 64)
            low = lowest if lowest < low else low
            high = highest if highest > high else high
    scale = (high - low) / LEVELS
    if scale == np.float32(0):
        scale = np.float32(1)
    zero = lesser(splat_f32(-low / scale), splat_f32(LEVELS))
    store_f32(round_even(zero), scratch)
    write_f32(scale, a.scale)
    write_u8(np.int64(read_f32(scratch)), a.zero_point)


@kernel("quantize_by_f32", "1x16")
def quantize_by(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Sixteen lanes a tile."""
    a = quantize_of(args)
    width = a.row_bytes // 4
    step, zero_point = splat_f32(read_f32(a.scale)), splat_i32(read_u8(a.zero_point))
    for index in range(tile_begin, tile_end):
        panel = 16 * index // width
        lane = 4 * (16 * index - panel * width)
        x, y = a.x + panel * a.x_panel + lane, a.y + panel * a.y_panel + lane
        for row in range(0, a.k, 4):
            quad = quad_of(x + row * a.row_bytes, a.row_bytes, a.k - row, step, zero_point)
            store_i32(quad, y + row // 4 * a.row_bytes)


@kernel("product_parameters", f"{ROWS}x1")
def product_parameters(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """ROWS rows of the matrix a tile."""
    a = product_of(args)
    scale, zero_point = read_f32(a.scale), read_u8(a.zero_point)
    for index in range(tile_begin, tile_end):
        for row in range(ROWS * index, least(ROWS * index + ROWS, a.m)):
            factor = scale * read_f32(a.weight_scale + row * a.weight_scale_stride)
            write_f32(factor, a.factor + 4 * row)
        for row in range(ROWS * index, least(ROWS * index + ROWS, a.m), 16):
            sums = load_i32(a.row_sums + 4 * row)
            store_i32(splat_i32(0) - sums * splat_i32(zero_point), a.start + 4 * row)
