"""Mean and variance of each lane down the rows of an f32 panel, in one reading, some vectors of lanes side by side.

Each block of rows is summed while it is in registers, twice, and its sums join those of the blocks before (Chan, Golub
and LeVeque 1979), so that nothing cancels. What a lane's rows give does not depend on the lanes beside it.

    moments    [2][4][16 lanes] float32, in scratch: what is taken from each lane, and what it is multiplied by
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner
from engine.kernels.simd.arithmetic import fused_multiply_add, splat_f32, square_root
from engine.kernels.simd.memory import load_f32, store_f32

# Bytes from the means to the factors, and of both.
FACTORS = 256
MOMENTS = 2 * FACTORS
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
def _join(moments: int, share: Any, weight: Any, more_mean: Any, more_squares: Any) -> None:
    """Let further rows join those whose mean and sum of squares are in `moments`.

    share     of the further rows in all of them
    weight    the rows so far, times share
    """
    mean, squares = load_f32(moments), load_f32(moments + FACTORS)
    apart = more_mean - mean
    store_f32(fused_multiply_add(apart, share, mean), moments)
    store_f32(fused_multiply_add(apart * apart, weight, squares + more_squares), moments + FACTORS)


@inner
def _share(count: int, more: int) -> Any:
    return np.float32(more) / np.float32(count + more)


@inner
def _sum_around_mean(moments: int, x: int, k: int, row_bytes: int, end: int) -> None:
    """Means, and sums of squares around them."""
    whole = k // BLOCK * BLOCK
    for row in range(0, whole, BLOCK):
        share = _share(row, BLOCK)
        shares, weights = splat_f32(share), splat_f32(np.float32(row) * share)
        for lane in range(0, end, 64):
            mean, squares = _block_sums(x + row * row_bytes + lane, row_bytes)
            _join(moments + lane, shares, weights, mean, squares)
    for row in range(whole, k):
        share = _share(row, 1)
        shares, weights = splat_f32(share), splat_f32(np.float32(row) * share)
        for lane in range(0, end, 64):
            one = load_f32(x + row * row_bytes + lane)
            _join(moments + lane, shares, weights, one, splat_f32(np.float32(0)))


@inner
def _squares(x: int, row_bytes: int) -> Any:
    """The sum of squares of four rows."""
    x0, x1, x2, x3 = _four_rows(x, row_bytes)
    return fused_multiply_add(x0, x0, x1 * x1) + fused_multiply_add(x2, x2, x3 * x3)


@inner
def _sum_squares(moments: int, x: int, k: int, row_bytes: int, end: int) -> None:
    """Sums of squares, in two parts: that of rows 4 to 7 of every eight is in the place of the means."""
    whole = k // BLOCK * BLOCK
    for row in range(0, whole, BLOCK):
        for lane in range(0, end, 64):
            at, place = x + row * row_bytes + lane, moments + lane
            first, second = load_f32(place + FACTORS), load_f32(place)
            store_f32(first + _squares(at, row_bytes), place + FACTORS)
            store_f32(second + _squares(at + 4 * row_bytes, row_bytes), place)
    for row in range(whole, k):
        for lane in range(0, end, 64):
            one, place = load_f32(x + row * row_bytes + lane), moments + lane + FACTORS
            store_f32(fused_multiply_add(one, one, load_f32(place)), place)
    for place in range(moments, moments + end, 64):
        store_f32(load_f32(place + FACTORS) + load_f32(place), place + FACTORS)
        store_f32(splat_f32(np.float32(0)), place)


@inner
def take_moments(
    moments: int, x: int, k: int, row_bytes: int, end: int, epsilon: Any, keeps_mean: int
) -> None:
    """Leave in `moments` what normalises k rows of `end` bytes: mean (or 0) and 1 / sqrt(variance + epsilon)."""
    for place in range(moments, moments + end, 64):
        store_f32(splat_f32(np.float32(0)), place)
        store_f32(splat_f32(np.float32(0)), place + FACTORS)
    if keeps_mean != 0:
        _sum_squares(moments, x, k, row_bytes, end)
    else:
        _sum_around_mean(moments, x, k, row_bytes, end)
    for place in range(moments + FACTORS, moments + FACTORS + end, 64):
        variance = load_f32(place) / splat_f32(np.float32(k))
        store_f32(splat_f32(np.float32(1)) / square_root(variance + splat_f32(epsilon)), place)
