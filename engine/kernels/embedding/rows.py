"""Rows of a table, turned into the columns of an f32 panel: sixteen lanes a tile.

    ids        [outer][inner], any strides (0 repeats), int64 or int32
    table      [v][k] float32, uint8 or int8; bytes are dequantised, (value - zero) * scale
    y[k][lane] = table[ids[lane]][k] (+ residual[k][lane])

Ids may count from the end; an id out of range reads row 0 and sets the fault word. Padding lanes take
the last position's row.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import Kernel, inner, kernel, record
from engine.kernels.movement.rows import position_of
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import (
    load_f32,
    read_f32,
    read_i32,
    read_i64,
    read_s8,
    read_u8,
    store_f32,
    write_f32,
    write_i64,
)
from engine.kernels.simd.transpose import transpose_f32, transpose_s8, transpose_u8

EMBEDDING = np.dtype(
    [
        *((name, np.int64) for name in ("ids", "id_bytes", "id_outer", "id_inner")),  # strides in bytes
        *((name, np.int64) for name in ("table", "table_rows", "k", "zero_point")),
        *((name, np.int64) for name in ("residual", "residual_panel", "y", "y_panel", "row_bytes")),
        *((name, np.int64) for name in ("outer", "inner", "pitch")),
        (
            "map",
            np.int64,
        ),  # address of each lane's position, ~position where it repeats one; 0: lanes lie regularly
        ("fault", np.int64),  # address of a word: set to 1 + the first bad id's position
        ("scale", np.float32),
    ],
    align=True,
)
embedding_of = record(EMBEDDING)
SCRATCH = 2 * 16 * 8


@inner
def _row_of(a: Any, lane: int) -> Any:
    """The table's row for this lane, checked."""
    if a.map != 0:
        position = position_of(read_i64(a.map + 8 * lane))
        outer = position // a.inner
        inner_position = position - outer * a.inner
    else:
        outer = least(lane // a.pitch, a.outer - 1)
        inner_position = least(lane - lane // a.pitch * a.pitch, a.inner - 1)
    at = a.ids + outer * a.id_outer + inner_position * a.id_inner
    row = read_i64(at) if a.id_bytes == 8 else read_i32(at)
    if row < 0:
        row += a.table_rows
    if row < 0 or row >= a.table_rows:
        write_i64(1 + outer * a.inner + inner_position, a.fault)
        row = 0
    return row


@inner
def _point(a: Any, y: int, first_lane: int, sources: int, targets: int, row_bytes: int) -> None:
    for i in range(16):
        write_i64(a.table + _row_of(a, first_lane + i) * row_bytes, sources + 8 * i)
        write_i64(y + i * a.row_bytes, targets + 8 * i)


@inner
def _add_residual(a: Any, y: int, residual: int) -> None:
    for row in range(a.k):
        store_f32(
            load_f32(y + row * a.row_bytes) + load_f32(residual + row * a.row_bytes), y + row * a.row_bytes
        )


def _embedding_kernel(kind: str) -> Kernel:
    size = 4 if kind == "f32" else 1

    @inner
    def value(a: Any, at: int) -> Any:
        if kind == "f32":
            return read_f32(at)
        byte = read_s8(at) if kind == "s8" else read_u8(at)
        return np.float32(byte - a.zero_point) * a.scale

    @kernel(f"embedding_{kind}", "1x16")
    def embed(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = embedding_of(args)
        width = a.row_bytes // 4
        sources, targets = scratch, scratch + 128
        for index in range(tile_begin, tile_end):
            lane = 16 * index
            panel = lane // width
            offset = 4 * (lane - panel * width)
            y = a.y + panel * a.y_panel + offset
            _point(a, y, lane, sources, targets, a.k * size)
            for row in range(0, a.k - 15, 16):
                if kind == "f32":
                    transpose_f32(sources, row * 4, targets, row * a.row_bytes)
                elif kind == "u8":
                    transpose_u8(sources, row, targets, row * a.row_bytes, a.zero_point, a.scale)
                else:
                    transpose_s8(sources, row, targets, row * a.row_bytes, a.zero_point, a.scale)
            for row in range(a.k // 16 * 16, a.k):
                for i in range(16):
                    write_f32(value(a, read_i64(sources + 8 * i) + row * size), y + row * a.row_bytes + 4 * i)
            if a.residual != 0:
                _add_residual(a, y, a.residual + panel * a.residual_panel + offset)

    return embed


KERNELS = {
    np.dtype(np.float32): _embedding_kernel("f32"),
    np.dtype(np.uint8): _embedding_kernel("u8"),
    np.dtype(np.int8): _embedding_kernel("s8"),
}
