"""Tiles of 4 x 4 pixels as products of Winograd's form read them: B' d B, of numbers or of pairs of bfloat16.

    planes -> d[4][4] of sixteen tiles -> panel [position 0 .. 15][channel or pair][tile]

Pairs are widened to float32, and rounded half to even once more as they are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import Kernel, inner, kernel, record
from engine.kernels.convolution.windows import RUNS_BYTES, find_runs, windows_of
from engine.kernels.simd.arithmetic import from_bits, least, splat_i32
from engine.kernels.simd.memory import load_f32, load_i32, read_i64, store_f32, store_i32
from engine.kernels.simd.pairs import HAS_PAIRS, rounded_pairs

TILES = np.dtype(
    [
        (name, np.int64)
        for name in (
            "windows",  # address of a WINDOWS record of windows of 4 x 4 at stride 2; its y is not used
            "plane_bytes",
            "groups",  # of channels, or pairs of them
            "group",  # channels of a group
            "row_bytes",  # of y, with the gap
            "position_bytes",
            "y",
            "y_panel",
        )
    ],
    align=True,
)
tiles_of = record(TILES)
SCRATCH = RUNS_BYTES


@inner
def _fours(d0: Any, d1: Any, d2: Any, d3: Any) -> Any:
    return d0 - d2, d1 + d2, d2 - d1, d1 - d3


@inner
def _move_tile(x: int, plane: int, line: int, y: int, position: int) -> None:
    """Sixteen tiles of a channel, and all that products take of them."""
    odd, low = x + plane, x + 2 * plane
    last = low + plane
    # Columns 0 .. 3 of the tiles, in rows 0 .. 3.
    a0, a1, a2, a3 = _fours(load_f32(x), load_f32(low), load_f32(x + line), load_f32(low + line))
    b0, b1, b2, b3 = _fours(load_f32(odd), load_f32(last), load_f32(odd + line), load_f32(last + line))
    x, odd, low, last = x + 4, odd + 4, low + 4, last + 4
    c0, c1, c2, c3 = _fours(load_f32(x), load_f32(low), load_f32(x + line), load_f32(low + line))
    d0, d1, d2, d3 = _fours(load_f32(odd), load_f32(last), load_f32(odd + line), load_f32(last + line))
    _keep_four(_fours(a0, b0, c0, d0), y, position)
    _keep_four(_fours(a1, b1, c1, d1), y + 4 * position, position)
    _keep_four(_fours(a2, b2, c2, d2), y + 8 * position, position)
    _keep_four(_fours(a3, b3, c3, d3), y + 12 * position, position)


@inner
def _keep_four(values: Any, y: int, position: int) -> None:
    store_f32(values[0], y)
    store_f32(values[1], y + position)
    store_f32(values[2], y + 2 * position)
    store_f32(values[3], y + 3 * position)


@inner
def _halves(x: int) -> Any:
    """Both numbers of sixteen pairs."""
    pairs = load_i32(x)
    return from_bits(pairs << splat_i32(16)), from_bits(pairs & splat_i32(-65536))


@inner
def _sum(x: int, y: int) -> Any:
    (x0, x1), (y0, y1) = _halves(x), _halves(y)
    return x0 + y0, x1 + y1


@inner
def _difference(x: int, y: int) -> Any:
    (x0, x1), (y0, y1) = _halves(x), _halves(y)
    return x0 - y0, x1 - y1


@inner
def _keep_pairs(a: Any, b: Any, c: Any, d: Any, y: int, position: int) -> None:
    """Four columns, of both numbers."""
    even, odd = _fours(a[0], b[0], c[0], d[0]), _fours(a[1], b[1], c[1], d[1])
    store_i32(rounded_pairs(even[0], odd[0]), y)
    store_i32(rounded_pairs(even[1], odd[1]), y + position)
    store_i32(rounded_pairs(even[2], odd[2]), y + 2 * position)
    store_i32(rounded_pairs(even[3], odd[3]), y + 3 * position)


@inner
def _move_pairs(x: int, plane: int, line: int, y: int, position: int) -> None:
    """Sixteen tiles of a pair of channels, a row of a tile's results at a time: two of its pixels' rows."""
    odd, low = x + plane, x + 2 * plane
    last, xs, lows = low + plane, x + line, low + line
    odds, lasts = odd + line, last + line
    a, b = _difference(x, xs), _difference(odd, odds)
    c, d = _difference(x + 4, xs + 4), _difference(odd + 4, odds + 4)
    _keep_pairs(a, b, c, d, y, position)
    a, b = _sum(low, xs), _sum(last, odds)
    c, d = _sum(low + 4, xs + 4), _sum(last + 4, odds + 4)
    _keep_pairs(a, b, c, d, y + 4 * position, position)
    a, b = _difference(xs, low), _difference(odds, last)
    c, d = _difference(xs + 4, low + 4), _difference(odds + 4, last + 4)
    _keep_pairs(a, b, c, d, y + 8 * position, position)
    a, b = _difference(low, lows), _difference(last, lasts)
    c, d = _difference(low + 4, lows + 4), _difference(last + 4, lasts + 4)
    _keep_pairs(a, b, c, d, y + 12 * position, position)


def _tiles_kernel(name: str, move: Callable[..., None]) -> Kernel:
    @kernel(name)
    def to_tiles(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        """A tile is one panel of a group of channels."""
        a = tiles_of(args)
        w = windows_of(a.windows)
        last, count, line = -1, 0, 4 * w.plane_pitch
        for index in range(tile_begin, tile_end):
            panel = index // a.groups
            first = (index - panel * a.groups) * a.group
            if panel != last:
                count = find_runs(w, panel, scratch)
                last = panel
            for channel in range(first, least(first + a.group, w.channels)):
                x = w.x + channel * w.channel_bytes
                y = a.y + panel * a.y_panel + channel * a.row_bytes
                for at in range(scratch, scratch + 16 * count, 16):
                    move(x + read_i64(at), a.plane_bytes, line, y + read_i64(at + 8), a.position_bytes)

    return to_tiles


# By the form of the planes.
TO_TILES = {
    "panel": _tiles_kernel("winograd_tiles", _move_tile),
    **({"pairs": _tiles_kernel("winograd_tiles_bf16", _move_pairs)} if HAS_PAIRS else {}),
}
