"""Layer normalisation down the rows of an f32 panel, sixteen lanes a tile.

    mean = sum_k x / k      variance = sum_k (x - mean)**2 / k      y = (x - mean) / sqrt(variance + epsilon) * gain + bias

Two sums are kept of every four rows' worth, so that neither is a long chain. The result goes out as an
f32 panel, as u8 quads, or both in one pass.
"""

from __future__ import annotations

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.products.epilogue import quad_of, rounded
from engine.kernels.simd.arithmetic import fused_multiply_add, least, splat_f32, splat_i32, square_root
from engine.kernels.simd.memory import load_f32, read_f32, store_f32, store_i32

NORM = np.dtype(
    [
        ("x", np.int64),
        ("x_panel", np.int64),
        ("y", np.int64),
        ("y_panel", np.int64),
        ("quads", np.int64),  # address of u8 quads, or 0
        ("quads_panel", np.int64),
        ("k", np.int64),
        ("row_bytes", np.int64),
        ("gain", np.int64),
        ("bias", np.int64),
        ("zero_point", np.int64),
        ("rounded", np.int64),  # 1: the f32 panel too holds the values that the quads stand for
        ("epsilon", np.float32),
        ("step", np.float32),
    ],
    align=True,
)
norm_of = record(NORM)


@inner
def _sum(x: int, k: int, row_bytes: int):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a vector
    even, odd = splat_f32(np.float32(0)), splat_f32(np.float32(0))
    for row in range(0, k - 1, 2):
        even = even + load_f32(x + row * row_bytes)
        odd = odd + load_f32(x + (row + 1) * row_bytes)
    if k % 2 != 0:
        even = even + load_f32(x + (k - 1) * row_bytes)
    return even + odd


@inner
def _sum_of_squares(x: int, k: int, row_bytes: int, mean):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    even, odd = splat_f32(np.float32(0)), splat_f32(np.float32(0))
    for row in range(0, k - 1, 2):
        a = load_f32(x + row * row_bytes) - mean
        b = load_f32(x + (row + 1) * row_bytes) - mean
        even = fused_multiply_add(a, a, even)
        odd = fused_multiply_add(b, b, odd)
    if k % 2 != 0:
        a = load_f32(x + (k - 1) * row_bytes) - mean
        even = fused_multiply_add(a, a, even)
    return even + odd


@kernel("layer_norm_f32", "1x16")
def normalize(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Normalise sixteen lanes a tile."""
    a = norm_of(args)
    row_bytes, vectors = a.row_bytes, a.row_bytes // 64
    count = splat_f32(np.float32(a.k))
    for index in range(tile_begin, tile_end):
        panel = index // vectors
        lane = (index - panel * vectors) * 64
        x, y = a.x + panel * a.x_panel + lane, a.y + panel * a.y_panel + lane
        mean = _sum(x, a.k, row_bytes) / count
        variance = _sum_of_squares(x, a.k, row_bytes, mean) / count
        factor = splat_f32(np.float32(1)) / square_root(variance + splat_f32(a.epsilon))
        for row in range(0, a.k, 4):
            rows = least(4, a.k - row)
            for r in range(row, row + rows):
                gain, bias = splat_f32(read_f32(a.gain + 4 * r)), splat_f32(read_f32(a.bias + 4 * r))
                value = fused_multiply_add((load_f32(x + r * row_bytes) - mean) * factor, gain, bias)
                if a.rounded != 0:
                    value = rounded(value, splat_f32(a.step), splat_i32(a.zero_point))
                store_f32(value, y + r * row_bytes)
            if a.quads != 0:
                quad = quad_of(
                    y + row * row_bytes, row_bytes, rows, splat_f32(a.step), splat_i32(a.zero_point)
                )
                store_i32(quad, a.quads + panel * a.quads_panel + row // 4 * row_bytes + lane)
