"""Images of another size, as ONNX lays them out: each pixel one of the source, or between two by two of them.

Along each axis a table names two places of the source for each place of the result, and the second one's share.
Nearest pixels have no share: a row is then copied where the row before has the same source. A tile is one channel
of one image.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import F32, inner, instruction, ir, kernel, record
from engine.kernels.plain.places import copy_bytes
from engine.kernels.simd.arithmetic import splat_f32
from engine.kernels.simd.memory import load_f32, read_f32, read_i64, store_f32, write_f32

RESIZE = np.dtype(
    [
        (name, np.int64)
        for name in (
            *("x", "y", "height", "width", "rows", "columns"),  # of an image before, and after
            *("down", "across"),  # addresses of int64 [place][2]
            *("down_shares", "across_shares"),  # addresses of float32 [place], or 0: nearest pixels
            "doubles",  # 1: across, every pixel comes twice
        )
    ],
    align=True,
)
resize_of = record(RESIZE)


def scratch_bytes(width: int) -> int:
    """One line of the source, and a vector beyond."""
    return 4 * width + 128


def _twice(first: int) -> Any:
    index = ir.Constant(ir.VectorType(ir.IntType(32), 16), [first + i // 2 for i in range(16)])
    return instruction(F32, (F32,), lambda b, x: b.shuffle_vector(x, x, index))


_low_twice, _high_twice = _twice(0), _twice(8)


@inner
def _chosen(a: Any, line: int, y: int) -> None:
    """One row of nearest pixels."""
    done = 0
    if a.doubles != 0:
        done = a.width // 16 * 16
        for column in range(0, done, 16):
            x = load_f32(line + 4 * column)
            store_f32(_low_twice(x), y + 8 * column)
            store_f32(_high_twice(x), y + 8 * column + 64)
        done *= 2
    for column in range(done, a.columns):
        write_f32(read_f32(line + 4 * read_i64(a.across + 16 * column)), y + 4 * column)


@inner
def _between(a: Any, line: int, y: int) -> None:
    """One row of pixels between two each."""
    for column in range(a.columns):
        share = read_f32(a.across_shares + 4 * column)
        first = read_f32(line + 4 * read_i64(a.across + 16 * column))
        second = read_f32(line + 4 * read_i64(a.across + 16 * column + 8))
        write_f32(first * (np.float32(1) - share) + second * share, y + 4 * column)


@inner
def _line_between(a: Any, x: int, row: int, line: int) -> None:
    """The row of the source that lies between two of it."""
    share = read_f32(a.down_shares + 4 * row)
    first = x + 4 * a.width * read_i64(a.down + 16 * row)
    second = x + 4 * a.width * read_i64(a.down + 16 * row + 8)
    near, far = splat_f32(np.float32(1) - share), splat_f32(share)
    for column in range(0, a.width, 16):
        store_f32(
            load_f32(first + 4 * column) * near + load_f32(second + 4 * column) * far, line + 4 * column
        )


@kernel("resize_f32")
def resize(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is one channel of one image."""
    a = resize_of(args)
    for tile in range(tile_begin, tile_end):
        x, y = a.x + 4 * tile * a.height * a.width, a.y + 4 * tile * a.rows * a.columns
        for row in range(a.rows):
            place, source = y + 4 * row * a.columns, read_i64(a.down + 16 * row)
            if a.down_shares != 0:
                _line_between(a, x, row, scratch)
                _between(a, scratch, place)
            elif row > 0 and source == read_i64(a.down + 16 * row - 16):
                copy_bytes(place - 4 * a.columns, place, 4 * a.columns, 4)
            else:
                _chosen(a, x + 4 * a.width * source, place)
