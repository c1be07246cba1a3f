"""Dense products over 1 to 8 lanes: here vectors run over m, and a lane's x is the scalar that is broadcast.

    w[m][k]  ->  [strip][k][64]          one step of k: 64 consecutive 32-bit values, one a row of m

    strip 0, k 0:  w[0][0]  w[1][0] ... w[63][0]     byte 256 * (strip * k_steps + k) + 4 * row
             k 1:  w[0][1]  w[1][1] ... w[63][1]
    last strip:    where it is not whole, as many sixteens of rows as m needs, one after another: [16 rows][k][16]
    int8:          a "value" is a quad of four k's

    w vector ──>   rows 0-15   rows 16-31 ...
    x lane 0   ->   sum 0,0     sum 0,1           every weight is read once, in the order it lies in memory,
    x lane 1   ->   sum 1,0     sum 1,1           for all lanes: the stream of weights is the bound

x is an ordinary panel of sixteen lanes of which the first are real. Sums are transposed to [row][lane], and
the epilogue is every product's. Rows beyond m and k's beyond a whole quad are zero.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import Kernel, active_level, inner, kernel
from engine.kernels.cost import Work, streamed_bytes
from engine.kernels.products.arguments import product_of
from engine.kernels.products.epilogue import epilogue_of
from engine.kernels.products.finishers import finish
from engine.kernels.row import Array, PackedWeights, ProductShape, aligned
from engine.kernels.simd.arithmetic import least, splat_i32
from engine.kernels.simd.memory import load_i32, store_i32
from engine.kernels.simd.tile import tile_operations
from engine.kernels.simd.transpose import transpose_eight

MOST_LANES = 8
STRIP, WIDTH = 64, 16
_VECTORS, _STRIP_BYTES, _PANEL_ROW = STRIP // 16, 4 * STRIP, 4 * WIDTH
_SUMS, _STAGING = MOST_LANES * _STRIP_BYTES, STRIP * _PANEL_ROW
VECTOR_SCRATCH = _SUMS + _STAGING
# Steps of k whose weights, 8 KiB, stay in L1 where one register tile does not hold all rows and lanes.
# Prefetching a chunk ahead (16, 32 and 64 steps, one run each on Zen 4) was no faster than 32 steps without.
_CHUNK = 32


# -- packing
def pack_values(values: Array, k: int, nonzeros: int) -> PackedWeights:
    """32-bit values[m, steps of k] into strips of 64 rows."""
    m, steps = values.shape
    whole, rest = divmod(m, STRIP)
    tail = -(-rest // 16) * 16
    entries = aligned((whole * STRIP + tail) * steps, values.dtype)
    first, last = np.split(entries, [whole * STRIP * steps])
    first.reshape(whole, steps, STRIP)[:] = (
        values[: whole * STRIP].reshape(whole, STRIP, steps).transpose(0, 2, 1)
    )
    padded = np.zeros((tail, steps), values.dtype)
    padded[:rest] = values[whole * STRIP :]
    last.reshape(-1, steps, 16)[:] = padded.reshape(-1, 16, steps).transpose(0, 2, 1)
    return PackedWeights(entries, aligned(0, np.int32), m, k, -(-m // STRIP), STRIP, nonzeros)


def unpack_values(packed: PackedWeights, steps: int) -> Array:
    """The values that `pack_values` was given."""
    whole = packed.m // STRIP
    first, last = np.split(packed.entries, [whole * STRIP * steps])
    rows = first.reshape(whole, steps, STRIP).transpose(0, 2, 1).reshape(-1, steps)
    tail = last.reshape(-1, steps, 16).transpose(0, 2, 1).reshape(-1, steps)
    return np.concatenate([rows, tail])[: packed.m]


# -- body
def _register_tiles() -> list[tuple[int, int]]:
    """(lanes, vectors of m) of the register tiles that fit: sums, one step's vectors and a broadcast."""
    level = active_level()
    each = 64 // level.width
    fitting = []
    for lanes in (1, 2, 4, 8):
        vectors = [v for v in (1, 2, 4) if (lanes + 1) * v * each < level.registers]
        if vectors:
            fitting.append((lanes, vectors[-1]))
    return fitting


def _tile_pass(lanes: int, vectors: int, kind: str, w_stride: int) -> Callable[..., None]:
    """So many steps of k for one register tile; adds to sums in scratch, a row of 64 a lane.

    w_stride   bytes from one step's weights to the next's
    """
    tile = tile_operations(lanes, vectors, kind)
    load, step, save = tile.load, tile.step, tile.save

    @inner
    def run(k: int, x: int, w: int, sums: int) -> None:
        total = load(sums, _STRIP_BYTES)
        for _ in range(k):
            total = step(total, x, 4, w)
            x += _PANEL_ROW
            w += w_stride
        save(total, sums, _STRIP_BYTES)

    return run


def _lane_pass(lanes: int, vectors: int, kind: str) -> Callable[..., int]:
    """Some steps of k of one strip, for so many lanes at a time as long as there are as many."""
    wide, narrow = _tile_pass(lanes, vectors, kind, _STRIP_BYTES), _tile_pass(lanes, 1, kind, 64)

    @inner
    def run(a: Any, first: int, lane: int, w: int, whole: int, rest: int, sums: int) -> int:
        steps = least(_CHUNK, a.k - first)
        for _ in range((a.lanes - lane) // lanes):
            x, y = a.x + first * _PANEL_ROW + 4 * lane, sums + lane * _STRIP_BYTES
            for v in range(0, whole, 64 * vectors):
                wide(steps, x, w + first * _STRIP_BYTES + v, y + v)
            for v in range(0, rest, 64):
                narrow(steps, x, w + first * 64 + v * a.k, y + v)
            lane += lanes
        return lane

    return run


def _after(one: Callable[..., int], other: Callable[..., int]) -> Callable[..., int]:
    """Lanes by `one`, then those that are left by `other`."""

    @inner
    def run(a: Any, first: int, lane: int, w: int, whole: int, rest: int, sums: int) -> int:
        return other(a, first, one(a, first, lane, w, whole, rest, sums), w, whole, rest, sums)

    return run


def vector_kernel(family: str, kind: str) -> Kernel:
    """The kernel that multiplies strips of 64 rows by up to eight lanes.

    kind   "f32", or "s8u8" for integer sums that begin at `start`
    """
    tiles = [_lane_pass(lanes, vectors, kind) for lanes, vectors in reversed(_register_tiles())]
    all_lanes = functools.reduce(_after, tiles)
    integer = kind == "s8u8"

    @kernel(family, f"{MOST_LANES}x{STRIP}__panel{WIDTH}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        m = epilogue_of(a.epilogue).m
        for strip in range(tile_begin, tile_end):
            row = strip * STRIP
            for at in range(0, _SUMS, 64):
                begin = load_i32(a.start + 4 * row + at % _STRIP_BYTES) if integer else splat_i32(0)
                store_i32(begin, scratch + at)
            # Either a whole strip or the rest of m, as counts: fewer branches around the loops to compile.
            present = least(_VECTORS, (m - row + 15) // 16)
            whole = least(1, (m - row) // STRIP)
            rest = 64 * present * (1 - whole)
            w = a.w + strip * a.k * _STRIP_BYTES
            for first in range(0, a.k, _CHUNK):
                all_lanes(a, first, 0, w, whole * _STRIP_BYTES, rest, scratch)
            for v in range(present):
                transpose_eight(scratch + 64 * v, _STRIP_BYTES, scratch + _SUMS + v * 16 * _PANEL_ROW)
            finish(a.epilogue, scratch + _SUMS, row, STRIP, 0)

    return multiply


# -- cost
def vector_work(shape: ProductShape, k_steps: int) -> Work:
    """Multiply-adds of sixteen rows by a lane; vectors of weights that are read; what comes from beyond the L2 cache."""
    vectors = -(-shape.m // 16) * k_steps
    lanes = min(MOST_LANES, 1 << (shape.lanes.inner - 1).bit_length())
    return Work(vectors * lanes, vectors, shape.m, 0, streamed_bytes(64.0 * vectors))
