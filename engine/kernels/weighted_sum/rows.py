"""Sums over the positions of a sequence, each with its weight: f32 panels to rows.

    x      f32 panel [k][lane]          w    float32 [sequence][position]; all 1 where there is none
    y      float32 [sequence][k]        y[k] = (sum over positions of x[k][lane of the position] * w) / divisor

A tile is sixteen features of one sequence: sixteen lanes of them are turned into sixteen columns, and added in the
order of positions, the roundings of all additions summed beside. Positions of weight 0
count for nothing, whatever they hold; so a sum has the same bits whether they have lanes or not, wherever they stand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.simd.arithmetic import least, splat_f32
from engine.kernels.simd.memory import load_f32, read_f32, read_i64, store_f32, write_f32, write_i64
from engine.kernels.simd.sums import exactly_added, finite_rest
from engine.kernels.simd.transpose import transpose_f32

WEIGHTED_SUM = np.dtype(
    [
        *((name, np.int64) for name in ("x", "x_panel", "row_bytes", "k", "w", "y", "inner", "pitch")),
        ("map", np.int64),  # address of each lane's position; 0: lanes lie regularly
        ("divisor", np.float32),
        ("sequences", np.int64),  # with a map: address of (first lane, positions) for each sequence
    ],
    align=True,
)
weighted_sum_of = record(WEIGHTED_SUM)
FEATURES = 16
_POINTERS, _COLUMNS = 2 * 128, 64 * 16
SCRATCH = _POINTERS + _COLUMNS


@inner
def _point(row_bytes: int, scratch: int) -> None:
    """Where rows begin, from the first on, and where columns go."""
    for i in range(FEATURES):
        write_i64(i * row_bytes, scratch + 8 * i)
        write_i64(scratch + _POINTERS + 64 * i, scratch + 128 + 8 * i)


@inner
def _turn(x: int, row_bytes: int, rows: int, scratch: int) -> None:
    """Sixteen lanes of `rows` rows as sixteen columns."""
    if rows == FEATURES:
        transpose_f32(scratch, x, scratch + 128, 0)
    else:
        for i in range(16):
            for row in range(rows):
                write_f32(read_f32(x + row * row_bytes + 4 * i), scratch + _POINTERS + 64 * i + 4 * row)


@inner
def _summed(a: Any, outer: int, row: int, rows: int, scratch: int) -> Any:
    """Sixteen features from `row` on, over the positions of one sequence."""
    first, count, width = outer * a.pitch, a.inner, a.row_bytes // 4
    if a.map != 0:
        first, count = read_i64(a.sequences + 16 * outer), read_i64(a.sequences + 16 * outer + 8)
    total, rest = splat_f32(np.float32(0)), splat_f32(np.float32(0))
    for lane in range(first, first + count, 16):
        panel = lane // width
        place = a.x + panel * a.x_panel + row * a.row_bytes + 4 * (lane - panel * width)
        _turn(place, a.row_bytes, rows, scratch)
        for i in range(least(16, first + count - lane)):
            position = outer * a.inner + lane - first + i
            if a.map != 0:
                position = read_i64(a.map + 8 * (lane + i))
            weight = read_f32(a.w + 4 * position) if a.w != 0 else np.float32(1)
            if weight != np.float32(0):
                column = load_f32(scratch + _POINTERS + 64 * i) * splat_f32(weight)
                total, rest = exactly_added(total, rest, column)
    return (total + finite_rest(rest)) / splat_f32(a.divisor)


@kernel("weighted_sum_f32", f"{FEATURES}x16")
def weighted_sum(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Sum sixteen features of one sequence a tile."""
    a = weighted_sum_of(args)
    blocks = (a.k + FEATURES - 1) // FEATURES
    _point(a.row_bytes, scratch)
    for index in range(tile_begin, tile_end):
        outer = index // blocks
        row = FEATURES * (index - outer * blocks)
        rows = least(FEATURES, a.k - row)
        total = _summed(a, outer, row, rows, scratch)
        y = a.y + 4 * (outer * a.k + row)
        if rows == FEATURES:
            store_f32(total, y)
        else:
            store_f32(total, scratch + _POINTERS)
            for i in range(rows):
                write_f32(read_f32(scratch + _POINTERS + 4 * i), y + 4 * i)
