"""Dense weights in strips of twelve rows, for float32, for pairs of bfloat16 and for quads of int8 alike.

    w[m][k]  ->  [strip][k][12]          one step of k: twelve consecutive 32-bit values, one a row

    strip 0, k 0:  w[0][0]  w[1][0] ... w[11][0]     byte 48 * (strip * k_steps + k) + 4 * row
             k 1:  w[0][1]  w[1][1] ... w[11][1]
    int8:    k 0:  w[0][0..3] w[1][0..3] ...         a "value" is a quad of four k's
    bf16:    k 0:  w[0][0..1] w[1][0..1] ...         a pair

Twelve is a multiple of every register tile's rows (6 x 4 vectors, 12 x 2, 12 x 1, 6 x 1, 3 x 1), so one
packing serves all panel widths, and of four, so that a strip ends on a whole row of quads.
Rows beyond m and k's beyond a whole quad are zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from engine.jit import Kernel, active_level, inner, kernel
from engine.kernels.layout import VECTOR_LANES, Lanes
from engine.kernels.products.arguments import (
    STREAM_AHEAD,
    STRIP,
    few_of,
    lane_bytes_of,
    product_of,
    strip_and_panel,
)
from engine.kernels.products.direct import direct_of, direct_with_pairs_of, makes_pairs, tile_finisher
from engine.kernels.products.epilogue import epilogue_of
from engine.kernels.products.few_lanes import (
    FEW_SHARE,
    HAS_FEW,
    LANE_SHARE,
    few_lane_sums,
    tile_and_lane_sums,
)
from engine.kernels.products.finishers import finish_lanes
from engine.kernels.row import Array, PackedWeights, aligned
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import prefetch
from engine.kernels.simd.tile import tile_operations

# Bytes of the three vectors that one lane may follow.
_THREE = 192


@dataclass(frozen=True, slots=True)
class TileShape:
    """Rows and vectors of a register tile."""

    rows: int
    vectors: int


def tile_shape(width: int) -> TileShape:
    """The register tile for panels of `width` lanes at the active level.

    Sums, one step's vectors and a broadcast must fit the registers; with 64-byte registers twelve sums
    hide the latency of two multiply-adds a cycle.
    """
    level = active_level()
    if level.width == 64:
        vectors = min(4, width // 16)
        return TileShape(6 if vectors == 4 else 12, vectors)
    # A vector of sixteen lanes takes 64 / width registers; keep two for x and one for the broadcast.
    rows = (level.registers - 3) // (64 // level.width)
    return TileShape(max(r for r in (1, 2, 3, 6) if r <= rows), 1)


def strip_count(m: int) -> int:
    """Strips that hold m rows."""
    return -(-m // STRIP)


def pack_f32(w: Array) -> PackedWeights:
    """float32 w[m, k], any strides, into strips of twelve rows."""
    m, k = w.shape
    strips = strip_count(m)
    packed = aligned((strips, k, STRIP), np.float32)
    whole = m // STRIP
    packed[:whole] = w[: whole * STRIP].reshape(whole, STRIP, k).transpose(0, 2, 1)
    packed[whole:, :, : m - whole * STRIP] = w[whole * STRIP :].T
    return PackedWeights(packed, aligned(0, np.int32), m, k, strips, STRIP, int(np.count_nonzero(w)))


def unpack_f32(packed: PackedWeights) -> Array:
    """The matrix that `pack_f32` was given."""
    rows = packed.entries.transpose(0, 2, 1).reshape(-1, packed.k)
    return np.ascontiguousarray(rows[: packed.m])


def pack_quads(w: Array) -> PackedWeights:
    """int8 w[m, k], any strides, into strips of twelve rows of quads."""
    m, k = w.shape
    strips, quads = strip_count(m), -(-k // 4)
    full = np.zeros((strips * STRIP, quads * 4), np.int8)
    full[:m, :k] = w
    packed = aligned((strips, quads, STRIP, 4), np.int8)
    packed[:] = full.reshape(strips, STRIP, quads, 4).transpose(0, 2, 1, 3)
    return PackedWeights(packed, aligned(0, np.int32), m, k, strips, STRIP, int(np.count_nonzero(w)))


def unpack_quads(packed: PackedWeights) -> Array:
    """The matrix that `pack_quads` was given."""
    strips, quads = packed.entries.shape[:2]
    rows = packed.entries.transpose(0, 2, 1, 3).reshape(strips * STRIP, quads * 4)
    return np.ascontiguousarray(rows[: packed.m, : packed.k])


def _strip_tile(shape: TileShape, kind: str) -> Callable[..., Any]:
    """The sums of one register tile, whose weights and rows of x begin at these addresses."""
    tile = tile_operations(shape.rows, shape.vectors, kind)
    zero, spread, step = tile.zero, tile.spread, tile.step
    integer, strip_bytes = kind == "u8s8", 4 * STRIP

    @inner
    def sums_of(a: Any, w: int, start: int, lanes: int) -> Any:
        row_bytes, k = a.row_bytes, a.k
        sums = spread(start, 4) if integer else zero()
        for _ in range(k // 2):
            # Two steps of k are 96 bytes: no line is left out.
            prefetch(w + STREAM_AHEAD)
            prefetch(w + STREAM_AHEAD + 64)
            sums = step(sums, w, 4, lanes)
            sums = step(sums, w + strip_bytes, 4, lanes + row_bytes)
            w += 2 * strip_bytes
            lanes += 2 * row_bytes
        if k % 2 != 0:
            sums = step(sums, w, 4, lanes)
        return sums

    return sums_of


def strip_sums(shape: TileShape, kind: str) -> Callable[..., None]:
    """What multiplies a strip, of which so many rows are present, by as many lanes as a register tile has.

    Called with a record that has row_bytes, k, w and start as PRODUCT; rows of sums lie row_bytes apart too.
    """
    sums_of, save = _strip_tile(shape, kind), tile_operations(shape.rows, shape.vectors, kind).save
    rows, strip_bytes = shape.rows, 4 * STRIP

    @inner
    def multiply(a: Any, strip: int, present: int, x: int, y: int) -> None:
        for row in range(0, present, rows):
            w, start = a.w + strip * a.k * strip_bytes + 4 * row, a.start + 4 * (strip * STRIP + row)
            save(sums_of(a, w, start, x), y + row * a.row_bytes, a.row_bytes)

    return multiply


class Places(NamedTuple):
    """Where a strip's rows go, from the register tile's first lane on.

    direct       1: from registers to the results, of float32 sums only; 0: to sums
    sums         row 0 of them
    y, residual  the strip's row 0
    pairs        the strip's pair 0
    """

    direct: int
    sums: int
    y: int
    residual: int
    pairs: int


def _strip_rows(shape: TileShape, kind: str, *, with_lane: bool = False) -> Callable[..., None]:
    """A strip, of which so many rows are present, by as many lanes as a register tile has: to where `places` says.

    with_lane   by the lane behind them too, where there is a place for its sums (`one`), which is not 0
    """
    sums_of, save = _strip_tile(shape, kind), tile_operations(shape.rows, shape.vectors, kind).save
    rows, strip_bytes, floats = shape.rows, 4 * STRIP, kind != "u8s8"
    finish_tile = tile_finisher(rows, shape.vectors, kind if floats else "f32")
    sums_and_lane = tile_and_lane_sums(rows, shape.vectors, kind)

    @inner
    def multiply(a: Any, d: Any, strip: int, present: int, x: int, one: int, places: Places) -> None:
        for row in range(0, present, rows):
            first = 4 * (strip * STRIP + row)
            # One loop over k for all three ends: it is most of what there is to compile.
            if with_lane and one != 0 and row == 0:
                sums = sums_and_lane(a, strip, x, one)
            else:
                sums = sums_of(a, a.w + strip * a.k * strip_bytes + 4 * row, a.start + first, x)
            if not floats or places.direct == 0:
                save(sums, places.sums + row * a.row_bytes, a.row_bytes)
            else:
                y, residual = places.y + row * d.stride, places.residual + row * d.stride
                finish_tile(d, sums, d.bias + first, y, residual, places.pairs + row // 2 * d.pair_stride)

    return multiply


def _shapes(width: int) -> tuple[TileShape, TileShape, TileShape, TileShape]:
    """Register tiles of a panel: as wide as it is, and of three vectors, two and one where that is less."""
    whole, two, one = tile_shape(width), tile_shape(min(width, 32)), tile_shape(16)
    return whole, TileShape(6, 3) if whole.vectors == 4 else two, two, one


@inner
def _further(places: Places, lane: int) -> Places:
    y, residual, pairs = places.y + lane, places.residual + lane, places.pairs + lane
    return Places(places.direct, places.sums + lane, y, residual, pairs)


def _rows_of_panel(width: int, kind: str) -> Callable[..., None]:
    """A strip by the lanes up to `end`, in bytes; sums of the lane behind three vectors go to `lane_sums`, if not 0."""
    whole, three, two, one = (
        _strip_rows(shape, kind, with_lane=HAS_FEW and shape.vectors == 3) for shape in _shapes(width)
    )
    lane_bytes, three_bytes, two_bytes, _ = (64 * shape.vectors for shape in _shapes(width))

    @inner
    def multiply(
        a: Any, d: Any, strip: int, present: int, x: int, end: int, lane_sums: int, places: Places
    ) -> None:
        lane = 0
        while lane + lane_bytes <= end:
            whole(a, d, strip, present, x + lane, 0, _further(places, lane))
            lane += lane_bytes
        if lane + three_bytes <= end:
            three(a, d, strip, present, x + lane, lane_sums, _further(places, lane))
            lane += three_bytes
        if lane + two_bytes <= end:
            two(a, d, strip, present, x + lane, 0, _further(places, lane))
            lane += two_bytes
        while lane < end:
            one(a, d, strip, present, x + lane, 0, _further(places, lane))
            lane += 64

    return multiply


@inner
def _places(e: Any, direct: int, strip: int, panel: int, sums: int) -> Places:
    row, pairs = strip * STRIP * e.row_bytes, e.planes + panel * e.planes_panel
    y, residual = e.y + panel * e.y_panel + row, e.residual + panel * e.residual_panel + row
    return Places(direct, sums, y, residual, pairs + strip * STRIP // 2 * e.planes_row)


def strip_kernel(family: str, width: int, kind: str) -> Kernel:
    """The kernel that multiplies one strip by one panel of `width` lanes.

    kind   "f32", "bf16" for pairs, or "u8s8" for integer sums that begin at `start`

    Of the last panel only vectors that hold lanes are multiplied: three, two or one at a time where no four are left. A last
    vector with few lanes is computed lane by lane.
    """
    rows_of = _rows_of_panel(width, kind)
    shape, floats = tile_shape(width), kind != "u8s8"
    decide = direct_with_pairs_of if makes_pairs(shape.rows, kind) else direct_of
    few_sums = few_lane_sums(kind)

    @kernel(family, f"{shape.rows}x{16 * shape.vectors}__panel{width}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        e = epilogue_of(a.epilogue)
        d = decide(e, e.integer, e.activation, e.store)
        for index in range(tile_begin, tile_end):
            strip, panel = strip_and_panel(a, index)
            x, lanes, row = a.x + panel * a.x_panel, lane_bytes_of(a, panel), strip * STRIP
            end, present, lane_sums = lanes, least(STRIP, e.m - row), 0
            few = few_of(a, panel) if HAS_FEW else 0
            if few > 0:
                end -= 64
                if few == 1 and end == _THREE:
                    lane_sums = scratch + end
                else:
                    few_sums(a, strip, x + end, scratch + end)
            direct = 1 if floats and d.on != 0 and d.bias != 0 and present == STRIP else 0
            rows_of(a, d, strip, present, x, end, lane_sums, _places(e, direct, strip, panel, scratch))
            # What went to the results is finished, but for a last vector with few lanes.
            done = end // 4 if direct != 0 else 0
            if done < lanes // 4:
                place = panel * width + done
                finish_lanes(
                    a.epilogue, scratch + 4 * done, a.row_bytes, row, STRIP, place, lanes // 4 - done
                )

    return multiply


def strip_kernels(family: str, kind: str) -> dict[int, Kernel]:
    """One kernel for every panel width."""
    return {width: strip_kernel(family, width, kind) for width in (16, 32, 64)}


def strip_vectors(lanes: Lanes, share: float = FEW_SHARE) -> float:
    """Vectors of lanes that a strip is multiplied by; few lanes of a last one are this share of it."""
    held = lanes.outer * lanes.pitch // VECTOR_LANES
    if lanes.few == 1 and held % 4 == 0 and lanes.width == 4 * VECTOR_LANES:
        share = LANE_SHARE
    return held - 1 + share if HAS_FEW and lanes.few else held


def strip_scratch(width: int) -> int:
    """Bytes for one strip's sums over one panel."""
    return STRIP * width * 4
