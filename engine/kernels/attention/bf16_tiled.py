"""Attention of bfloat16 on AMX tiles, for heads of whole tiles of features; softmax is that of `bf16`.

    scores[key][query]  A: sixteen keys, a row of 32 features each (lane rows)    B: pairs of queries, their plane
    context[d][query]   A: sixteen features, a row of 32 keys each (rows)         B: pairs of probabilities

    scratch    tile memory | mask of an edge | A tiles of an edge [64][32 keys]
               | scores f32 [t to 16][16], then probabilities bf16 [t / 2 to 16][16][2] | context f32 [depth][16]

Keys of other sequences, and lanes that hold none, are left out of A where a row of 32 keys has such: 0 times what
lies there need not be 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from engine.jit import Kernel, inner
from engine.kernels.attention.bf16 import pair_head
from engine.kernels.attention.rows import attend_kernel
from engine.kernels.bf16_planes.rows import row_place
from engine.kernels.simd.arithmetic import splat_i32
from engine.kernels.simd.bytes import side_by_side
from engine.kernels.simd.memory import load_i32, store_i32, write_i32
from engine.kernels.simd.tiles import ROW_BYTES, TILE_BYTES, TILE_MEMORY, TILE_ROWS, tile_unit

EMULATED = tile_unit("bf16").emulated
# Fewer keys are not worth a step that turns them into rows. An estimate: this was never measured on a CPU with AMX.
LEAST_KEYS = 64
TILE_KEYS, TILE_DEPTH = 32, 32
_MASK = TILE_MEMORY
_EDGE = _MASK + 64
_SCORES = _EDGE + 4 * TILE_BYTES


def takes(keys: int, depth: int) -> bool:
    """Whether attention over so many keys is to be computed on tiles."""
    return not EMULATED and depth % TILE_DEPTH == 0 and keys >= LEAST_KEYS


def tiled_scratch(keys: int, depth: int) -> int:
    """Bytes for one tile."""
    return _SCORES + 64 * (-(-keys // 16) * 16 + depth)


@inner
def _scores_place(scratch: int) -> int:
    return scratch + _SCORES


@inner
def _context_place(a: Any, scratch: int) -> int:
    place: int = scratch + _SCORES + (a.keys + 15) // 16 * 1024
    return place


def _score_keys() -> Callable[..., None]:
    unit = tile_unit("bf16")
    zero0, zero1, store0, store1 = unit.zero(0), unit.zero(1), unit.store(0), unit.store(1)
    load_first, load_second, load_queries = unit.load(4), unit.load(5), unit.load(6)
    multiply0, multiply1 = unit.multiply(0, 4, 6), unit.multiply(1, 5, 6)

    @inner
    def score(a: Any, scratch: int, q: int, first: int, count: int, head: int) -> None:
        pitch = a.k_panel // 16
        keys, scores = a.k + first * pitch + 2 * head * a.depth, scratch + _SCORES
        blocks = (count + TILE_ROWS - 1) // TILE_ROWS
        for block in range(0, blocks, 2):
            # The last of an odd number of blocks is multiplied alone.
            both = block + 1 < blocks
            x, y = keys + block * TILE_ROWS * pitch, scores + block * TILE_BYTES
            zero0(scratch)
            zero1(scratch)
            for feature in range(0, a.depth, TILE_DEPTH):
                load_queries(scratch, q + feature // 2 * ROW_BYTES, ROW_BYTES)
                load_first(scratch, x + 2 * feature, pitch)
                multiply0(scratch)
                if both:
                    load_second(scratch, x + TILE_ROWS * pitch + 2 * feature, pitch)
                    multiply1(scratch)
            store0(scratch, y, ROW_BYTES)
            if both:
                store1(scratch, y + TILE_BYTES, ROW_BYTES)

    return score


@inner
def _copy_edge(a: Any, scratch: int, vector: int, keys: int, row: int, rows: int) -> int:
    """A tile's values that are not whole rows, with zeros where no key of the sequence is; returns where.

    vector   of sixteen lanes, the first of the tile
    keys     of the sequence in the tile, or more
    """
    low = row_place(a.v, a.v_panel, vector) + row * ROW_BYTES
    # What follows the last vector may not be readable.
    high = row_place(a.v, a.v_panel, vector + 1) + row * ROW_BYTES if keys > 16 else low
    for pair in range(TILE_KEYS // 2):
        kept = 0xFFFF if 2 * pair < keys else 0
        write_i32(kept | (0xFFFF0000 if 2 * pair + 1 < keys else 0), scratch + _MASK + 4 * pair)
    mask = load_i32(scratch + _MASK)
    for at in range(0, rows * ROW_BYTES, ROW_BYTES):
        store_i32(side_by_side(low + at, high + at) & mask, scratch + _EDGE + at)
    place: int = scratch + _EDGE
    return place


def _values_mixer(tiles: int) -> Callable[..., None]:
    """The inner function that sums the values of so many tiles of features, 2 or 4."""
    unit = tile_unit("bf16")
    zero0, zero1, zero2, zero3 = (unit.zero(tile) for tile in range(4))
    store0, store1, store2, store3 = (unit.store(tile) for tile in range(4))
    multiply0, multiply1, multiply2, multiply3 = (unit.multiply(tile, 4 + tile % 2, 6) for tile in range(4))
    load_even, load_odd, load_probabilities = unit.load(4), unit.load(5), unit.load(6)

    @inner
    def mix(a: Any, scratch: int, first: int, keys: int, row: int, context: int) -> None:
        zero0(scratch)
        zero1(scratch)
        if tiles == 4:
            zero2(scratch)
            zero3(scratch)
        for key in range(0, keys, TILE_KEYS):
            vector = (first + key) // 16
            values = row_place(a.v, a.v_panel, vector) + row * ROW_BYTES
            if vector % 2 != 0 or keys - key < TILE_KEYS:
                values = _copy_edge(a, scratch, vector, keys - key, row, TILE_ROWS * tiles)
            load_probabilities(scratch, scratch + _SCORES + key * (ROW_BYTES // 2), ROW_BYTES)
            load_even(scratch, values, ROW_BYTES)
            multiply0(scratch)
            load_odd(scratch, values + TILE_BYTES, ROW_BYTES)
            multiply1(scratch)
            if tiles == 4:
                load_even(scratch, values + 2 * TILE_BYTES, ROW_BYTES)
                multiply2(scratch)
                load_odd(scratch, values + 3 * TILE_BYTES, ROW_BYTES)
                multiply3(scratch)
        store0(scratch, context, ROW_BYTES)
        store1(scratch, context + TILE_BYTES, ROW_BYTES)
        if tiles == 4:
            store2(scratch, context + 2 * TILE_BYTES, ROW_BYTES)
            store3(scratch, context + 3 * TILE_BYTES, ROW_BYTES)

    return mix


def _mix_values() -> Callable[..., None]:
    two, four = _values_mixer(2), _values_mixer(4)

    @inner
    def mix(a: Any, scratch: int, first: int, keys: int, head: int, context: int) -> None:
        probabilities = scratch + _SCORES
        end = (keys + TILE_KEYS - 1) // TILE_KEYS * TILE_BYTES
        for at in range((keys + 1) // 2 * ROW_BYTES, end, ROW_BYTES):
            store_i32(splat_i32(0), probabilities + at)
        for feature in range(0, a.depth - 63, 64):
            four(a, scratch, first, keys, head * a.depth + feature, context + feature * 64)
        if a.depth % 64 != 0:
            feature = a.depth - 32
            two(a, scratch, first, keys, head * a.depth + feature, context + feature * 64)

    return mix


@functools.cache
def tiled_bf16_kernel() -> Kernel:
    """The kernel, for heads of any multiple of 32 features."""
    unit, head = tile_unit("bf16"), pair_head(_scores_place, _score_keys(), _mix_values())
    return attend_kernel("attention_bf16_tiles", 32, head, _context_place, unit.configure, unit.release)


# Those that are offered.
KERNELS = {} if EMULATED else {TILE_DEPTH: tiled_bf16_kernel()}
