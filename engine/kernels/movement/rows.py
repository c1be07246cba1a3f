"""Between a tensor as ONNX lays it out (rows) and lane panels.

    to_panel     f32 [outer][inner][k]  ->  f32 panel          sixteen lanes a tile
    to_rows      f32 panel              ->  f32 [outer][inner][k]
    rows_to_quads, quads_to_rows        the same for u8
    take_lanes   f32 panel -> f32 panel whose lane j is lane map[j] of the source

Padding lanes of a new panel repeat the last position, so they stay finite.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import (
    gather_numbers,
    read_f32,
    read_i64,
    read_u8,
    store_f32,
    write_f32,
    write_i32,
    write_i64,
    write_u8,
)
from engine.kernels.simd.transpose import transpose_f32

MOVEMENT = np.dtype(
    [
        ("rows", np.int64),
        ("rows_stride", np.int64),  # bytes from one position to the next
        ("panel", np.int64),
        ("panel_bytes", np.int64),  # from panel to panel
        *((name, np.int64) for name in ("k", "row_bytes", "outer", "inner", "pitch")),
        (
            "map",
            np.int64,
        ),  # address of each lane's position, ~position where it repeats one; 0: lanes lie regularly
    ],
    align=True,
)
TAKE = np.dtype(
    [
        *((name, np.int64) for name in ("x", "x_panel", "x_row_bytes", "y", "y_panel", "y_row_bytes", "k")),
        ("lanes", np.int64),  # of the result, the last of them counted
        ("map", np.int64),
    ],
    align=True,
)
# Lanes of a vector that are copied one by one: the position that a classifier reads.
FEW = 2
movement_of = record(MOVEMENT)
take_of = record(TAKE)
SCRATCH = 2 * 16 * 8


@inner
def position_of(entry: int) -> int:
    """The position that an entry of a lane map names: itself, or its complement for a lane that repeats it."""
    return entry if entry >= 0 else -1 - entry


@inner
def _position(a: Any, lane: int) -> Any:
    """Address of the row-major position of a lane; padding repeats the last one."""
    if a.map != 0:
        return a.rows + position_of(read_i64(a.map + 8 * lane)) * a.rows_stride
    outer = least(lane // a.pitch, a.outer - 1)
    inner_position = least(lane - lane // a.pitch * a.pitch, a.inner - 1)
    return a.rows + (outer * a.inner + inner_position) * a.rows_stride


@inner
def _lane(a: Any, index: int) -> Any:
    width = a.row_bytes // 4
    panel = 16 * index // width
    return a.panel + panel * a.panel_bytes + 4 * (16 * index - panel * width)


@inner
def _point(a: Any, index: int, places: int, columns: int) -> None:
    for i in range(16):
        write_i64(_position(a, 16 * index + i), places + 8 * i)
        write_i64(_lane(a, index) + i * a.row_bytes, columns + 8 * i)


@kernel("to_panel_f32", "1x16")
def to_panel(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Rows to columns, sixteen lanes a tile."""
    a = movement_of(args)
    for index in range(tile_begin, tile_end):
        _point(a, index, scratch, scratch + 128)
        for row in range(0, a.k - 15, 16):
            transpose_f32(scratch, row * 4, scratch + 128, row * a.row_bytes)
        for row in range(a.k // 16 * 16, a.k):
            for i in range(16):
                write_f32(
                    read_f32(read_i64(scratch + 8 * i) + 4 * row), _lane(a, index) + row * a.row_bytes + 4 * i
                )


@inner
def _lanes_of_group(a: Any, index: int) -> int:
    """How many of sixteen lanes, from the first on, are positions and not padding."""
    count = 0
    if a.map != 0:
        for i in range(16):
            if read_i64(a.map + 8 * (16 * index + i)) >= 0:
                count += 1
    elif 16 * index // a.pitch < a.outer:
        count = least(16, a.inner - 16 * index % a.pitch)
    return count


@kernel("to_rows_f32", "1x16")
def to_rows(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Columns to rows; padding lanes are left out."""
    a = movement_of(args)
    for index in range(tile_begin, tile_end):
        lanes = _lanes_of_group(a, index)
        if lanes > 0:
            _point(a, index, scratch, scratch + 128)
            # Sixteen columns may be written at once only where none is a repeated padding position.
            blocks = a.k // 16 if lanes == 16 else 0
            for row in range(0, 16 * blocks, 16):
                transpose_f32(scratch + 128, row * a.row_bytes, scratch, row * 4)
            for row in range(16 * blocks, a.k):
                for i in range(lanes):
                    at = _lane(a, index) + row * a.row_bytes + 4 * i
                    write_f32(read_f32(at), read_i64(scratch + 8 * i) + 4 * row)


@kernel("rows_to_quads_u8", "1x16")
def rows_to_quads(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Rows of bytes to quads."""
    a = movement_of(args)
    for index in range(tile_begin, tile_end):
        for i in range(16):
            place = _position(a, 16 * index + i)
            for row in range(a.k):
                write_u8(read_u8(place + row), _lane(a, index) + row // 4 * a.row_bytes + 4 * i + row % 4)


@kernel("quads_to_rows_u8", "1x16")
def quads_to_rows(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Quads to rows of bytes."""
    a = movement_of(args)
    for index in range(tile_begin, tile_end):
        for i in range(_lanes_of_group(a, index)):
            place = _position(a, 16 * index + i)
            for row in range(a.k):
                write_u8(read_u8(_lane(a, index) + row // 4 * a.row_bytes + 4 * i + row % 4), place + row)


@inner
def _source(a: Any, lane: int) -> int:
    """Bytes from the source's first number to that of the lane which is taken."""
    width, source = a.x_row_bytes // 4, read_i64(a.map + 8 * lane)
    offset: int = source // width * a.x_panel + source % width * 4
    return offset


@kernel("take_lanes_f32", "1x16")
def take_lanes(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is sixteen lanes of the result, row by row: from row to row lines are far apart, and few fit a cache."""
    a = take_of(args)
    width = a.y_row_bytes // 4
    for group in range(tile_begin, tile_end):
        first, lanes = 16 * group, least(16, a.lanes - 16 * group)
        y = a.y + first // width * a.y_panel + first % width * 4
        if lanes > FEW:
            for i in range(16):
                write_i32(_source(a, first + i) // 4, scratch + 4 * i)
            for row in range(a.k):
                store_f32(gather_numbers(a.x + row * a.x_row_bytes, scratch), y + row * a.y_row_bytes)
        else:
            for i in range(lanes):
                x = a.x + _source(a, first + i)
                for row in range(a.k):
                    write_f32(read_f32(x + row * a.x_row_bytes), y + 4 * i + row * a.y_row_bytes)
