"""Layer and root mean square normalisation down the rows of an f32 panel, sixteen lanes a tile.

    mean = sum_k x / k      variance = sum_k (x - mean)**2 / k      y = (x - mean) / sqrt(variance + epsilon) * gain + bias

With `keeps_mean` the mean counts as 0, and the variance is the mean of squares.
Mean and variance in one reading: each block of rows is summed while it is in registers, twice, and its sums
join those of the blocks before (Chan, Golub and LeVeque 1979), so that nothing cancels. The second reading
writes an f32 panel, u8 quads, or both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.bf16_planes.rows import vector_place
from engine.kernels.bf16_planes.split import pair_of
from engine.kernels.products.epilogue import quantized
from engine.kernels.simd.arithmetic import (
    fused_multiply_add,
    least,
    splat_f32,
    splat_i32,
    square_root,
    to_float,
)
from engine.kernels.simd.memory import load_f32, read_f32, store_f32, store_i32

NORM = np.dtype(
    [
        ("x", np.int64),
        ("x_panel", np.int64),
        ("y", np.int64),  # address of an f32 panel, or 0
        ("y_panel", np.int64),
        ("quads", np.int64),  # address of u8 quads, or 0
        ("quads_panel", np.int64),
        (
            "planes",
            np.int64,
        ),  # address of pairs of bfloat16, or of one plane (see bf16_planes), or 0; k is then even
        ("planes_panel", np.int64),  # bytes from panel to panel,
        ("planes_vector", np.int64),  # from vector to vector of a panel,
        ("planes_row", np.int64),  # and from pair to pair
        ("k", np.int64),
        ("row_bytes", np.int64),
        ("gain", np.int64),
        ("bias", np.int64),
        ("zero_point", np.int64),
        ("rounded", np.int64),  # 1: the f32 panel too holds the values that the quads stand for
        ("heads", np.int64),  # groups of k rows, each normalised by itself; 1 beside quads and planes
        ("keeps_mean", np.int64),  # 1: nothing is taken from x
        ("epsilon", np.float32),
        ("step", np.float32),
    ],
    align=True,
)
norm_of = record(NORM)
# Rows whose sums are taken while they are in registers.
BLOCK = 8


@inner
def _block_sums(x: int, row_bytes: int) -> Any:
    """(mean, sum of squares around it) of BLOCK rows."""
    x0, x1, x2, x3 = _four_rows(x, row_bytes)
    x4, x5, x6, x7 = _four_rows(x + 4 * row_bytes, row_bytes)
    mean = (((x0 + x1) + (x2 + x3)) + ((x4 + x5) + (x6 + x7))) * splat_f32(np.float32(1 / BLOCK))
    x0, x1, x2, x3 = x0 - mean, x1 - mean, x2 - mean, x3 - mean
    x4, x5, x6, x7 = x4 - mean, x5 - mean, x6 - mean, x7 - mean
    low = fused_multiply_add(x0, x0, x1 * x1) + fused_multiply_add(x2, x2, x3 * x3)
    high = fused_multiply_add(x4, x4, x5 * x5) + fused_multiply_add(x6, x6, x7 * x7)
    return mean, low + high


@inner
def _four_rows(x: int, row_bytes: int) -> Any:
    return load_f32(x), load_f32(x + row_bytes), load_f32(x + 2 * row_bytes), load_f32(x + 3 * row_bytes)


@inner
def _joined(mean: Any, squares: Any, count: int, more_mean: Any, more_squares: Any, more: int) -> Any:
    """Mean and sum of squares of `count` rows and `more` rows together."""
    share = np.float32(more) / np.float32(count + more)
    apart = more_mean - mean
    mean = fused_multiply_add(apart, splat_f32(share), mean)
    squares = fused_multiply_add(apart * apart, splat_f32(np.float32(count) * share), squares + more_squares)
    return mean, squares


@inner
def _moments(x: int, k: int, row_bytes: int) -> Any:
    """(mean, variance) of each lane over k rows."""
    mean, squares = splat_f32(np.float32(0)), splat_f32(np.float32(0))
    whole = k // BLOCK * BLOCK
    for row in range(0, whole, BLOCK):
        block_mean, block_squares = _block_sums(x + row * row_bytes, row_bytes)
        mean, squares = _joined(mean, squares, row, block_mean, block_squares, BLOCK)
    for row in range(whole, k):
        one = load_f32(x + row * row_bytes)
        mean, squares = _joined(mean, squares, row, one, splat_f32(np.float32(0)), 1)
    return mean, squares / splat_f32(np.float32(k))


@inner
def _squares(x: int, row_bytes: int) -> Any:
    """The sum of squares of four rows."""
    x0, x1, x2, x3 = _four_rows(x, row_bytes)
    return fused_multiply_add(x0, x0, x1 * x1) + fused_multiply_add(x2, x2, x3 * x3)


@inner
def _mean_square(x: int, k: int, row_bytes: int) -> Any:
    """The mean of squares of each lane over k rows."""
    first, second = splat_f32(np.float32(0)), splat_f32(np.float32(0))
    whole = k // BLOCK * BLOCK
    for row in range(0, whole, BLOCK):
        at = x + row * row_bytes
        first, second = first + _squares(at, row_bytes), second + _squares(at + 4 * row_bytes, row_bytes)
    for row in range(whole, k):
        one = load_f32(x + row * row_bytes)
        first = fused_multiply_add(one, one, first)
    return (first + second) / splat_f32(np.float32(k))


@inner
def _mean_and_variance(a: Any, x: int) -> Any:
    """What is taken from each lane, and the mean of squares of what is left."""
    if a.keeps_mean != 0:
        mean, variance = splat_f32(np.float32(0)), _mean_square(x, a.k, a.row_bytes)
    else:
        mean, variance = _moments(x, a.k, a.row_bytes)
    return mean, variance


@inner
def _normalised(a: Any, row: int, x: int, mean: Any, factor: Any) -> Any:
    gain, bias = splat_f32(read_f32(a.gain + 4 * row)), splat_f32(read_f32(a.bias + 4 * row))
    return fused_multiply_add((load_f32(x) - mean) * factor, gain, bias)


@inner
def _write_floats(a: Any, x: int, y: int, mean: Any, factor: Any) -> None:
    for row in range(a.k):
        at = row * a.row_bytes
        store_f32(_normalised(a, row, x + at, mean, factor), y + at)


@inner
def _write_planes(a: Any, x: int, y: int, planes: int, mean: Any, factor: Any) -> None:
    """The panel, where there is one, and the plane: pairs of rows."""
    for row in range(0, a.k, 2):
        at = row * a.row_bytes
        even = _normalised(a, row, x + at, mean, factor)
        odd = _normalised(a, row + 1, x + at + a.row_bytes, mean, factor)
        if a.y != 0:
            store_f32(even, y + at)
            store_f32(odd, y + at + a.row_bytes)
        store_i32(pair_of(even, odd), planes + row // 2 * a.planes_row)


@inner
def _write_both(a: Any, x: int, y: int, quads: int, mean: Any, factor: Any) -> None:
    """The panel, where there is one, and the quads."""
    step, zero_point = splat_f32(a.step), splat_i32(a.zero_point)
    for first in range(0, a.k, 4):
        quad = splat_i32(0)
        # The last of four first: each moves up as the one before it arrives.
        for row in range(least(first + 4, a.k) - 1, first - 1, -1):
            at = row * a.row_bytes
            value = _normalised(a, row, x + at, mean, factor)
            whole = quantized(value, step, zero_point)
            quad = (quad << splat_i32(8)) | whole
            if a.rounded != 0:
                value = to_float(whole - zero_point) * step
            if a.y != 0:
                store_f32(value, y + at)
        store_i32(quad, quads + first // 4 * a.row_bytes)


@kernel("layer_norm_f32", "1x16")
def normalize(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Normalise sixteen lanes of one head a tile."""
    a = norm_of(args)
    vectors = a.row_bytes // 64
    for index in range(tile_begin, tile_end):
        vector = index // a.heads
        first = (index - vector * a.heads) * a.k * a.row_bytes
        panel = vector // vectors
        lane = (vector - panel * vectors) * 64
        x, y = a.x + panel * a.x_panel + first + lane, a.y + panel * a.y_panel + first + lane
        mean, variance = _mean_and_variance(a, x)
        factor = splat_f32(np.float32(1)) / square_root(variance + splat_f32(a.epsilon))
        if a.quads != 0:
            _write_both(a, x, y, a.quads + panel * a.quads_panel + lane, mean, factor)
        elif a.planes != 0:
            _write_planes(a, x, y, vector_place(a, vector), mean, factor)
        else:
            _write_floats(a, x, y, mean, factor)
