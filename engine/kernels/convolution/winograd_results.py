"""Results of tiles of 2 x 2 from the sums of sixteen products: see winograd.py, whose kernel calls this one by address.

    sums [position][row][tile] ── A' M A ──> two lines of pixels ──> pieces: vectors that end with their panel ──> y

Of bfloat16 two rows at a time may become pairs. A kernel of its own, as either half takes as long to compile as a kernel
should.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import F32, Kernel, call_by_address, inner, instruction, ir, kernel, record
from engine.kernels.bf16_planes.split import pair_of
from engine.kernels.products.activators import activate
from engine.kernels.products.arguments import STRIP
from engine.kernels.products.direct import direct_of, direct_with_pairs_of
from engine.kernels.products.epilogue import addend_of, addend_row, epilogue_of, program_of, row_bias
from engine.kernels.simd.arithmetic import from_bits, least, maximum, splat_f32
from engine.kernels.simd.arithmetic import minimum as lesser
from engine.kernels.simd.memory import load_f32, read_i64, store_f32, store_first, write_i64
from engine.kernels.simd.pairs import HAS_PAIRS

# Results of a tile along an axis, and products of a tile.
SIDE, POSITIONS = 2, 16

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
            "results",  # address of a kernel of TO_RESULTS
            "activator",  # address of the kernel of its activation (see products/activators)
        )
    ],
    align=True,
)
winograd_of = record(WINOGRAD)

# Two lines of results of a row, and of the next; behind them what is read beyond the last tile.
_LINE = 512
# Where whole vectors of results come from and go to: source, panel, bytes within its row, numbers.
_PIECE, _MOST_PIECES = 32, 192
# What becomes of each, before the activation.
_PIECES = 4 * _LINE
_VALUES = _PIECES + _PIECE * _MOST_PIECES
_MORE_VALUES = _VALUES + 64 * _MOST_PIECES
_COUNT = _MORE_VALUES + 64 * _MOST_PIECES
# Sums lie behind all that.
FRONT = _COUNT + 64
_ARGUMENTS = 6


def product_scratch(row_bytes: int) -> int:
    """Bytes that a member needs for sums of a strip."""
    return FRONT + POSITIONS * STRIP * row_bytes


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
def _finish_row(a: Any, e: Any, d: Any, row: int, scratch: int, count: int) -> None:
    """The epilogue of one row of results: float32 that is not rounded."""
    p, values = program_of(e), scratch + _VALUES
    bias, low, high = row_bias(p, row), splat_f32(d.low), splat_f32(d.high)
    y, residual = e.y + row * e.row_bytes, addend_row(p, e.residual, row, e.row_bytes)
    y_panel, residual_panel = e.y_panel, e.residual_panel
    for piece in range(count):
        place = scratch + _PIECES + _PIECE * piece
        panel, within = read_i64(place + 8), read_i64(place + 16)
        x = load_f32(scratch + read_i64(place)) + bias
        if p.residual != 0:
            x = x + addend_of(p, residual + panel * residual_panel + within, row)
        if d.on != 0:
            x = lesser(high, maximum(low, x))
            store_first(x, y + panel * y_panel + within, read_i64(place + 24))
        else:
            store_f32(x, values + 64 * piece)
    if d.on == 0:
        activate(a.activator, a.epilogue, values, values + 64 * count)
        for piece in range(count):
            place = scratch + _PIECES + _PIECE * piece
            panel, within = read_i64(place + 8), read_i64(place + 16)
            store_first(load_f32(values + 64 * piece), y + panel * y_panel + within, read_i64(place + 24))


@inner
def _values_of_row(a: Any, e: Any, d: Any, row: int, scratch: int, more: int, count: int) -> int:
    """Where the finished pieces of a row lie; `more` is 1 for the second of two."""
    p = program_of(e)
    bias, residual = row_bias(p, row), addend_row(p, e.residual, row, e.row_bytes)
    lines, values = scratch + more * 2 * _LINE, scratch + _VALUES + more * (_MORE_VALUES - _VALUES)
    for piece in range(count):
        place = scratch + _PIECES + _PIECE * piece
        x = load_f32(lines + read_i64(place)) + bias
        if p.residual != 0:
            x = x + addend_of(
                p, residual + read_i64(place + 8) * e.residual_panel + read_i64(place + 16), row
            )
        if d.on != 0:
            x = lesser(splat_f32(d.high), maximum(splat_f32(d.low), x))
        store_f32(x, values + 64 * piece)
    if d.on == 0:
        activate(a.activator, a.epilogue, values, values + 64 * count)
    return values


@inner
def _finish_pairs(a: Any, e: Any, d: Any, row: int, scratch: int, count: int) -> None:
    """The epilogue of two rows of results, as pairs and as rows, where somebody reads them."""
    first = _values_of_row(a, e, d, row, scratch, 0, count)
    second = _values_of_row(a, e, d, row + 1, scratch, 1, count)
    for piece in range(count):
        place = scratch + _PIECES + _PIECE * piece
        panel, within, numbers = read_i64(place + 8), read_i64(place + 16), read_i64(place + 24)
        even, odd = load_f32(first + 64 * piece), load_f32(second + 64 * piece)
        if e.y != 0:
            y = e.y + panel * e.y_panel + row * e.row_bytes + within
            store_first(even, y, numbers)
            store_first(odd, y + e.row_bytes, numbers)
        if e.planes != 0:
            pairs = e.planes + panel * e.planes_panel + row // 2 * e.planes_row + within
            store_first(from_bits(pair_of(even, odd)), pairs, numbers)


def _results_kernel(
    name: str, decide: Callable[..., Any], finish: Callable[..., None], together: int
) -> Kernel:
    """So many rows of results at a time."""

    @kernel(name, arguments=_ARGUMENTS)
    def to_results(args: int, scratch: int, strip: int, panel: int, end: int, is_new: int) -> None:
        """The results of one strip and panel, whose sums lie in scratch.

        end      bytes of a row of sums that hold tiles
        is_new   1: scratch does not know yet where results of this panel go
        """
        a = winograd_of(args)
        e = epilogue_of(a.epilogue)
        d = decide(e, e.integer, e.activation, e.store)
        if is_new != 0:
            for at in range(0, 4 * _LINE, 64):
                store_f32(splat_f32(np.float32(0)), scratch + at)
            write_i64(_find_pieces(a, e.row_bytes // 4, panel, scratch + _PIECES), scratch + _COUNT)
        count, first = read_i64(scratch + _COUNT), strip * STRIP
        for row in range(0, least(STRIP, e.m - first), together):
            for more in range(together):
                for lane in range(0, end, 64):
                    sums = scratch + FRONT + (row + more) * a.row_bytes + lane
                    _to_lines(sums, STRIP * a.row_bytes, scratch + more * 2 * _LINE + 2 * lane)
            finish(a, e, d, first + row, scratch, count)

    return to_results


# By the form of the results; pairs, of an even number of rows, may have rows beside them.
TO_RESULTS = {
    "panel": _results_kernel("winograd_results", direct_of, _finish_row, 1),
    **(
        {"pairs": _results_kernel("winograd_pairs", direct_with_pairs_of, _finish_pairs, 2)}
        if HAS_PAIRS
        else {}
    ),
}


finish_tiles = call_by_address(_ARGUMENTS)
