"""Windows of 3 x 3 at stride 1 by fewer products: a tile of 4 x 4 pixels gives 2 x 2 results by 16 products instead of 36.

    planes -> tiles d[4][4]     B' d B          panel [position 0 .. 15][channel][tile]
    weights g[3][3]             G g G'          strips [position][channel][12], when packed
    sums over channels, one product a position
    sums M[4][4]                A' M A  -> 2 x 2 pixels of 16 tiles -> lines of pixels -> epilogue

Lanes are tiles; even and odd columns of the image are planes of their own, so that each number of a tile is one load.
Source: Winograd 1980; Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", F(2 x 2, 3 x 3).
What its roundings are worth: docs/precision.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import F32, inner, instruction, ir, kernel, record
from engine.kernels.convolution.windows import RUNS_BYTES, find_runs, windows_of
from engine.kernels.products.arguments import STRIP
from engine.kernels.products.direct import direct_of
from engine.kernels.products.epilogue import (
    addend_row,
    epilogue_of,
    program_of,
    row_bias,
    row_scale,
    value_of,
)
from engine.kernels.products.few_lanes import HAS_FEW, few_lane_sums
from engine.kernels.products.strips import TileShape, pack_f32, strip_sums, tile_shape
from engine.kernels.row import Array, PackedWeights
from engine.kernels.simd.arithmetic import least, maximum, splat_f32
from engine.kernels.simd.arithmetic import minimum as lesser
from engine.kernels.simd.memory import load_f32, read_i64, store_f32, store_first, write_i64

# Tiles of a panel at most, results of a tile along an axis, and products of a tile.
WIDTH, SIDE, POSITIONS = 32, 2, 16
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
WINOGRAD = np.dtype(
    [
        (name, np.int64)
        for name in (
            "x",
            "x_panel",
            "row_bytes",
            "position_bytes",
            "k",  # channels
            "w",
            "start",  # as products of integers have it: not used
            "strips",
            "panels",
            "width",  # tiles of a panel
            "last_bytes",  # of the last panel's row, what holds tiles
            "few",  # as PRODUCT has it
            "tiles",  # of an image
            "across",  # tiles of a row of them
            "tile_pitch",  # lanes of tiles from image to image
            "images",
            "down",  # results, in pixels
            "columns",
            "lane_pitch",  # lanes of results from image to image
            "epilogue",
        )
    ],
    align=True,
)
tiles_of, winograd_of = record(TILES), record(WINOGRAD)

# Two lines of results of a row; behind them what is read beyond the last tile.
_LINE = 512
# Where whole vectors of results come from and go to: source, panel, bytes within its row, numbers.
_PIECE, _MOST_PIECES = 32, 192
_FRONT = 2 * _LINE + _PIECE * _MOST_PIECES


def product_scratch(row_bytes: int) -> int:
    """Bytes that a member needs for sums of a strip."""
    return _FRONT + POSITIONS * STRIP * row_bytes


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
def _interleaved(first: int) -> Any:
    index = [lane // 2 + first + 16 * (lane % 2) for lane in range(16)]
    mask = ir.Constant(ir.VectorType(ir.IntType(32), 16), index)
    return instruction(F32, (F32, F32), lambda b, x, y: b.shuffle_vector(x, y, mask))


_first_pairs, _last_pairs = _interleaved(0), _interleaved(8)


@inner
def _threes(m0: Any, m1: Any, m2: Any, m3: Any) -> Any:
    return m0 + m1 + m2, m1 - m2 - m3


@inner
def _column(sums: int, position: int) -> Any:
    return _threes(
        load_f32(sums),
        load_f32(sums + 4 * position),
        load_f32(sums + 8 * position),
        load_f32(sums + 12 * position),
    )


@inner
def _keep_pairs(even: Any, odd: Any, line: int) -> None:
    store_f32(_first_pairs(even, odd), line)
    store_f32(_last_pairs(even, odd), line + 64)


@inner
def _to_lines(sums: int, position: int, lines: int) -> None:
    """Results of sixteen tiles of one row, to two lines of 32 pixels."""
    a0, b0 = _column(sums, position)
    a1, b1 = _column(sums + position, position)
    a2, b2 = _column(sums + 2 * position, position)
    a3, b3 = _column(sums + 3 * position, position)
    even, odd = _threes(a0, a1, a2, a3)
    _keep_pairs(even, odd, lines)
    even, odd = _threes(b0, b1, b2, b3)
    _keep_pairs(even, odd, lines + _LINE)


@inner
def _note_pieces(width: int, lane: int, source: int, count: int, pieces: int, found: int) -> int:
    """So many results from a lane on, as vectors that end with their panel at the latest."""
    while count > 0:
        panel = lane // width
        within = lane - panel * width
        numbers = least(least(16, count), width - within)
        place = pieces + _PIECE * found
        write_i64(source, place)
        write_i64(panel, place + 8)
        write_i64(4 * within, place + 16)
        write_i64(numbers, place + 24)
        found += 1
        lane += numbers
        source += 4 * numbers
        count -= numbers
    return found


@inner
def _find_pieces(a: Any, width: int, panel: int, pieces: int) -> int:
    """Where the results of a panel of tiles go; how many vectors there are."""
    lane, found = panel * a.width, 0
    end, pixels = lane + a.width, a.down * a.columns
    while lane < end:
        image = lane // a.tile_pitch
        tile = lane - image * a.tile_pitch
        if image >= a.images:
            break
        if tile >= a.tiles:
            lane += a.tile_pitch - tile
            continue
        row = tile // a.across
        column = SIDE * (tile - row * a.across)
        run = least(a.across - column // SIDE, end - lane)
        for down in range(least(SIDE, a.down - SIDE * row)):
            pixel = (SIDE * row + down) * a.columns + column
            count = least(SIDE * run, a.columns - column)
            # Padding behind an image's last pixel holds something finite.
            if pixel + count == pixels:
                count += a.lane_pitch - pixels
            source = down * _LINE + 4 * SIDE * (lane - panel * a.width)
            found = _note_pieces(width, image * a.lane_pitch + pixel, source, count, pieces, found)
        lane += run
    return found


@inner
def _finish_row(e: Any, d: Any, row: int, lines: int, pieces: int, count: int) -> None:
    """The epilogue of one row of results."""
    p = program_of(e)
    scale, bias = row_scale(p, row), row_bias(p, row)
    low, high = splat_f32(d.low), splat_f32(d.high)
    y, residual = e.y + row * e.row_bytes, addend_row(p, e.residual, row, e.row_bytes)
    y_panel, residual_panel = e.y_panel, e.residual_panel
    for place in range(pieces, pieces + _PIECE * count, _PIECE):
        panel, within = read_i64(place + 8), read_i64(place + 16)
        x = load_f32(lines + read_i64(place))
        addend = residual + panel * residual_panel + within
        if d.on != 0:
            x = x + bias
            if d.residual != 0:
                x = x + load_f32(addend)
            x = lesser(high, maximum(low, x))
        else:
            x = value_of(p, x, row, scale, bias, addend)
        store_first(x, y + panel * y_panel + within, read_i64(place + 24))


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
    e = epilogue_of(a.epilogue)
    d = direct_of(e, e.integer, e.activation, e.store)
    pieces, sums = scratch + 2 * _LINE, scratch + _FRONT
    position, width, last, count = STRIP * a.row_bytes, e.row_bytes // 4, -1, 0
    for at in range(0, 2 * _LINE, 64):
        store_f32(splat_f32(np.float32(0)), scratch + at)
    for index in range(tile_begin, tile_end):
        panel = index // a.strips
        strip = index - panel * a.strips
        if panel != last:
            count = _find_pieces(a, width, panel, pieces)
            last = panel
        x, present = a.x + panel * a.x_panel, least(STRIP, e.m - strip * STRIP)
        end = a.last_bytes if panel == a.panels - 1 else 4 * a.width
        few = 1 if HAS_FEW and panel == a.panels - 1 and a.few != 0 else 0
        for at in range(POSITIONS):
            place = strip * POSITIONS + at
            _multiply(a, place, present, x + at * a.position_bytes, end - 64 * few, few, sums + at * position)
        for row in range(present):
            for lane in range(0, end, 64):
                _to_lines(sums + row * a.row_bytes + lane, position, scratch + 2 * lane)
            _finish_row(e, d, strip * STRIP + row, scratch, pieces, count)


SCRATCH = RUNS_BYTES
