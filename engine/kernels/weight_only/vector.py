"""One to eight lanes: vectors run over rows, numbers become float32 in registers and are multiplied there.

    sums of a block  +=  (number - zero) * x[lane]          total += sums * scale, once a block

Every byte of weights is read once, for all lanes: the memory is the bound.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from engine.jit import Kernel, inner, kernel
from engine.kernels.products.arguments import product_of
from engine.kernels.products.finishers import finish
from engine.kernels.products.vector_strips import MOST_LANES, WIDTH
from engine.kernels.simd.arithmetic import least, splat_i32
from engine.kernels.simd.memory import prefetch_l2, read_i64, store_i32
from engine.kernels.simd.transpose import transpose_eight
from engine.kernels.weight_only.numbers import raised_zeros, register_tiles, row_tile
from engine.kernels.weight_only.pack import (
    BLOCK,
    BLOCK_BYTES,
    GROUP,
    HEAD_BYTES,
    SCALE_BYTES,
    STRIP,
    STRIP_BYTES,
    VECTORS,
)

_LANE_BYTES, _PANEL_ROW = 4 * STRIP, 4 * WIDTH
_SUMS = MOST_LANES * _LANE_BYTES
VECTOR_SCRATCH = _SUMS + STRIP * _PANEL_ROW
# Steps of k whose numbers and x, at most 12 and 16 KiB, stay near where one register tile does not hold all lanes.
_CHUNK = 256
# Bytes by which weights are asked for before they are needed. Few loads are under way at a time in a body that computes
# as much as this one; into L2, more of them are waited for at once than into L1: 24 GB/s against 13 of one core.
AHEAD = 8192


def _tile_pass(lanes: int, vectors: int, bits: int) -> Callable[..., None]:
    """So many steps of one block for one register tile, from vector `first` of rows on; adds to the lanes' totals."""
    tile = row_tile(lanes, vectors, bits)
    zero, group, single, finish_block = tile.zero, tile.group, tile.single, tile.finish
    group_bytes, raise_zeros = STRIP * bits, raised_zeros(bits, vectors)

    @inner
    def run(steps: int, x: int, head: int, numbers: int, first: int, totals: int) -> None:
        zeros = raise_zeros(head + SCALE_BYTES + 16 * first)
        numbers += 64 * first
        sums = zero()
        for _ in range(steps // GROUP):
            for line in range(0, group_bytes, 64):
                prefetch_l2(numbers + AHEAD + line)
            sums = group(sums, zeros, numbers, x)
            numbers += group_bytes
            x += GROUP * _PANEL_ROW
        for i in range(steps % GROUP):
            sums = single(sums, zeros, numbers, i, x)
            x += _PANEL_ROW
        finish_block(sums, head + 64 * first, totals + 64 * first, _LANE_BYTES)

    return run


def _lane_pass(lanes: int, vectors: int, bits: int) -> Callable[..., int]:
    """Some steps of one block of one strip, for so many lanes at a time as long as there are as many."""
    tile = _tile_pass(lanes, vectors, bits)

    @inner
    def run(a: Any, k: int, steps: int, lane: int, head: int, numbers: int, totals: int) -> int:
        for _ in range((a.lanes - lane) // lanes):
            x = a.x + k * _PANEL_ROW + 4 * lane
            for first in range(0, VECTORS, vectors):
                tile(steps, x, head, numbers, first, totals + lane * _LANE_BYTES)
            lane += lanes
        return lane

    return run


def _after(one: Callable[..., int], other: Callable[..., int]) -> Callable[..., int]:
    """Lanes by `one`, then those that are left by `other`."""

    @inner
    def run(a: Any, k: int, steps: int, lane: int, head: int, numbers: int, totals: int) -> int:
        lane = one(a, k, steps, lane, head, numbers, totals)
        return other(a, k, steps, lane, head, numbers, totals)

    return run


def _strip_product(bits: int) -> Callable[..., None]:
    """One strip, block by block, for all lanes; adds to their totals."""
    tiles = [_lane_pass(lanes, vectors, bits) for lanes, vectors in reversed(register_tiles())]
    all_lanes, step_bits = functools.reduce(_after, tiles), STRIP * bits

    @inner
    def run(a: Any, strip: int, totals: int) -> None:
        block, block_bytes = read_i64(a.w_index + 8 * BLOCK), read_i64(a.w_index + 8 * BLOCK_BYTES)
        head = a.w + strip * read_i64(a.w_index + 8 * STRIP_BYTES)
        for first in range(0, a.k, block):
            for line in range(0, HEAD_BYTES, 64):
                prefetch_l2(head + AHEAD + line)
            count = least(block, a.k - first)
            for done in range(0, count, _CHUNK):
                numbers = head + HEAD_BYTES + done * step_bits // 8
                all_lanes(a, first + done, least(_CHUNK, count - done), 0, head, numbers, totals)
            head += block_bytes

    return run


def vector_kernel(family: str, bits: int) -> Kernel:
    """The kernel that multiplies strips of 48 rows by up to eight lanes."""
    product = _strip_product(bits)

    @kernel(family, f"{MOST_LANES}x{STRIP}__panel{WIDTH}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        for strip in range(tile_begin, tile_end):
            for at in range(0, _SUMS, 64):
                store_i32(splat_i32(0), scratch + at)
            product(a, strip, scratch)
            for v in range(VECTORS):
                transpose_eight(scratch + 64 * v, _LANE_BYTES, scratch + _SUMS + v * 16 * _PANEL_ROW)
            finish(a.epilogue, scratch + _SUMS, strip * STRIP, STRIP, 0)

    return multiply
