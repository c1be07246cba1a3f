"""Windows of 3 x 3 at stride 1 by fewer products: a tile of 4 x 4 pixels gives 2 x 2 results by 16 products instead of 36.

    planes -> tiles d[4][4]     B' d B          panel [position 0 .. 15][channel][tile]
    weights g[3][3]             G g G'          strips [position][channel][12], when packed
    sums over channels, one product a position
    sums M[4][4]                A' M A  -> 2 x 2 pixels of 16 tiles -> epilogue       (winograd_results.py)

Lanes are tiles; even and odd columns of the image are planes of their own, so that each number of a tile is one load.
Source: Winograd 1980; Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", F(2 x 2, 3 x 3).
What its roundings are worth: docs/precision.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.convolution.windows import RUNS_BYTES, find_runs, windows_of
from engine.kernels.convolution.winograd_results import FRONT, POSITIONS, finish_tiles, winograd_of
from engine.kernels.products.arguments import STRIP
from engine.kernels.products.epilogue import epilogue_of
from engine.kernels.products.few_lanes import HAS_FEW, few_lane_sums
from engine.kernels.products.strips import TileShape, pack_f32, strip_sums, tile_shape
from engine.kernels.row import Array, PackedWeights
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import load_f32, read_i64, store_f32

# Tiles of a panel at most.
WIDTH = 32
# Behind a panel's row: whole vectors are written beyond it.
GAP = 64

TILES = np.dtype(
    [
        (name, np.int64)
        for name in (
            "windows",  # address of a WINDOWS record of windows of 4 x 4 at stride 2; its y is not used
            "plane_bytes",
            "groups",  # of channels
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

# -- weights
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def pack(w: Array, channels: int) -> PackedWeights:
    """float32 w[m, 9 * channels], taps by taps, into strips of twelve rows, position by position; rounded once."""
    m = len(w)
    strips = -(-m // STRIP)
    taps = w.reshape(m, 3, 3, channels).astype(np.float64)
    moved = np.zeros((strips * STRIP, POSITIONS, channels), np.float32)
    moved[:m] = np.einsum("ai,mijc,bj->mabc", _G, taps, _G).reshape(m, POSITIONS, channels)
    rows = moved.reshape(strips, STRIP, POSITIONS, channels).transpose(0, 2, 1, 3)
    entries = pack_f32(rows.reshape(-1, channels))
    return PackedWeights(
        entries.entries, entries.index, m, w.shape[1], strips, STRIP, int(np.count_nonzero(w))
    )


# -- tiles
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


@kernel("winograd_tiles")
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
                _move_tile(x + read_i64(at), a.plane_bytes, line, y + read_i64(at + 8), a.position_bytes)


# -- products
_SHAPE = tile_shape(WIDTH)
# Twelve rows of a panel, or as many as registers hold; six where no more are left; one vector where no two are.
_whole, _one = strip_sums(_SHAPE, "f32"), strip_sums(tile_shape(16), "f32")
_half = strip_sums(TileShape(min(6, _SHAPE.rows), _SHAPE.vectors), "f32")
_few = few_lane_sums("f32")
_WHOLE_BYTES = 64 * _SHAPE.vectors


@inner
def _multiply(a: Any, strip: int, present: int, x: int, end: int, few: int, sums: int) -> None:
    """One position of a strip: `strip` counts positions too; few is 1 where a vector of few tiles follows."""
    lane = 0
    while lane + _WHOLE_BYTES <= end:
        if present <= 6:
            _half(a, strip, present, x + lane, sums + lane)
        else:
            _whole(a, strip, present, x + lane, sums + lane)
        lane += _WHOLE_BYTES
    while lane < end:
        _one(a, strip, present, x + lane, sums + lane)
        lane += 64
    if few != 0:
        _few(a, strip, x + end, sums + end)


@kernel("winograd_f32", f"{_SHAPE.rows}x{16 * _SHAPE.vectors}")
def multiply_tiles(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is one strip by one panel, all positions of it."""
    a = winograd_of(args)
    m, sums, position, last = epilogue_of(a.epilogue).m, scratch + FRONT, STRIP * a.row_bytes, -1
    for index in range(tile_begin, tile_end):
        panel = index // a.strips
        strip = index - panel * a.strips
        x, present = a.x + panel * a.x_panel, least(STRIP, m - strip * STRIP)
        end = a.last_bytes if panel == a.panels - 1 else 4 * a.width
        few = 1 if HAS_FEW and panel == a.panels - 1 and a.few != 0 else 0
        for at in range(POSITIONS):
            place = strip * POSITIONS + at
            _multiply(a, place, present, x + at * a.position_bytes, end - 64 * few, few, sums + at * position)
        finish_tiles(a.results, args, scratch, strip, panel, end, 1 if panel != last else 0)
        last = panel


SCRATCH = RUNS_BYTES
