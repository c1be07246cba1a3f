"""Attention of bytes on AMX tiles, for heads of 32 or 64 features; its sums, and so its results, are those of `quantized`.

    raw[key][query]    A: sixteen keys, a row of 64 features each (lane rows)    B: quads of queries less 128
                       and the same A once more by 128 - q_zero: what `quantized` adds as key parts
    context[d][query]  A: sixteen features, a row of 64 keys each (signed rows)  B: quads of probabilities

    scratch    tile memory | B of queries | B of 128 - q_zero, in two parts | scores [t to 16][16]
               | probabilities u8 [panel][16 quads][16][4] | context f32 [depth][16]

A row of a head of 32 features goes on with the next head's, a row of values with keys of other sequences or of
the next feature: B is zero there. Probabilities begin as far into their first tile as keys into their panel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from engine.jit import Kernel, inner
from engine.kernels.attention.byte_heads import BytePlaces, byte_head
from engine.kernels.attention.rows import attend_kernel
from engine.kernels.attention.whole import ONES
from engine.kernels.simd.arithmetic import splat_i32
from engine.kernels.simd.memory import store_i32
from engine.kernels.simd.tiles import ROW_BYTES, TILE_BYTES, TILE_MEMORY, TILE_ROWS, tile_unit

EMULATED = tile_unit("s8u8").emulated
# Fewer keys are not worth a step that turns them into rows. An estimate: this was never measured on a CPU with AMX.
LEAST_KEYS = 64
DEPTHS = (32, 64)
_QUERIES, _FACTORS = TILE_MEMORY, TILE_MEMORY + TILE_BYTES
_SCORES = _FACTORS + 2 * TILE_BYTES


def takes(keys: int, depth: int) -> bool:
    """Whether attention over so many keys is to be computed on tiles."""
    return not EMULATED and depth in DEPTHS and keys >= LEAST_KEYS


def tiled_scratch(keys: int, depth: int) -> int:
    """Bytes for one tile."""
    padded = -(-keys // 16) * 16
    return _SCORES + 64 * padded + _tiles(padded) * TILE_BYTES + 64 * depth


def _tiles(padded: int) -> int:
    """Tiles of 64 keys, wherever in the first one they begin."""
    return (padded + 48 + 63) // 64


@inner
def _queries_place(a: Any, scratch: int) -> int:
    return scratch + _QUERIES


@inner
def _scores_place(a: Any, scratch: int) -> int:
    return scratch + _SCORES


@inner
def _first_probabilities(a: Any, scratch: int) -> int:
    place: int = scratch + _SCORES + 64 * ((a.keys + 15) // 16 * 16)
    return place


@inner
def _lanes_before(a: Any, first: int) -> int:
    """Lanes of the first key's panel that come before it."""
    before: int = first % (a.kv_row_bytes // 4)
    return before


@inner
def _probabilities_place(a: Any, scratch: int, first: int) -> int:
    return _first_probabilities(a, scratch) + 16 * _lanes_before(a, first)


@inner
def _context_place(a: Any, scratch: int) -> int:
    tiles = ((a.keys + 15) // 16 * 16 + 48 + 63) // 64
    place: int = _first_probabilities(a, scratch) + tiles * TILE_BYTES
    return place


@inner
def _fill(begin: int, end: int, value: int) -> None:
    for at in range(begin, end, ROW_BYTES):
        store_i32(splat_i32(value), at)


@inner
def _fill_operand(a: Any, place: int, factor: int) -> None:
    """A B tile whose every byte, of the features of a head, is the factor."""
    end = place + 16 * a.depth
    _fill(place, end, ONES * (factor & 255))
    _fill(end, place + TILE_BYTES, 0)


def _score_keys() -> Callable[..., None]:
    unit = tile_unit("s8u8")
    load_queries, load_most, load_rest = unit.load(6), unit.load(7), unit.load(5)
    zero, load_keys, store = unit.zero(0), unit.load(4), unit.store(0)
    by_queries, by_most, by_rest = (unit.multiply(0, 4, b) for b in (6, 7, 5))

    @inner
    def score(a: Any, scratch: int, first: int, keys: int, head: int) -> None:
        pitch = a.k_panel // (a.kv_row_bytes // 4)
        # 128 is no signed byte: 127 and 1.
        factor = 128 - a.q_zero
        rest = 1 if factor == 128 else 0
        _fill(scratch + _QUERIES + 16 * a.depth, scratch + _FACTORS, 0)
        _fill_operand(a, scratch + _FACTORS, factor - rest)
        _fill_operand(a, scratch + _FACTORS + TILE_BYTES, rest)
        load_queries(scratch, scratch + _QUERIES, ROW_BYTES)
        load_most(scratch, scratch + _FACTORS, ROW_BYTES)
        load_rest(scratch, scratch + _FACTORS + TILE_BYTES, ROW_BYTES)
        place = a.k + first * pitch + head * a.depth
        for block in range(0, keys, TILE_ROWS):
            zero(scratch)
            load_keys(scratch, place + block * pitch, pitch)
            by_queries(scratch)
            by_most(scratch)
            if rest != 0:
                by_rest(scratch)
            store(scratch, _scores_place(a, scratch) + block * ROW_BYTES, ROW_BYTES)

    return score


def _mix_values(depth: int) -> Callable[..., None]:
    unit = tile_unit("u8s8")
    zero0, zero1, zero2, zero3 = (unit.zero(tile) for tile in range(4))
    store0, store1, store2, store3 = (unit.store(tile) for tile in range(4))
    multiply0, multiply1, multiply2, multiply3 = (unit.multiply(tile, 4 + tile % 2, 6) for tile in range(4))
    load_even, load_odd, load_probabilities = unit.load(4), unit.load(5), unit.load(6)

    @inner
    def mix(a: Any, scratch: int, first: int, keys: int, head: int, context: int) -> None:
        row_bytes = a.kv_row_bytes // 4
        before = _lanes_before(a, first)
        probabilities = _first_probabilities(a, scratch)
        tiles = (before + keys + row_bytes - 1) // row_bytes
        _fill(probabilities, probabilities + 16 * before, 0)
        _fill(probabilities + 16 * before + (keys + 3) // 4 * 64, probabilities + tiles * TILE_BYTES, 0)
        values = a.v + first // row_bytes * a.v_panel + head * depth * row_bytes
        zero0(scratch)
        zero1(scratch)
        zero2(scratch)
        zero3(scratch)
        for tile in range(tiles):
            load_probabilities(scratch, probabilities + tile * TILE_BYTES, ROW_BYTES)
            load_even(scratch, values, row_bytes)
            multiply0(scratch)
            load_odd(scratch, values + 16 * row_bytes, row_bytes)
            multiply1(scratch)
            if depth == 64:
                load_even(scratch, values + 32 * row_bytes, row_bytes)
                multiply2(scratch)
                load_odd(scratch, values + 48 * row_bytes, row_bytes)
                multiply3(scratch)
            values += a.v_panel
        store0(scratch, context, ROW_BYTES)
        store1(scratch, context + TILE_BYTES, ROW_BYTES)
        if depth == 64:
            store2(scratch, context + 2 * TILE_BYTES, ROW_BYTES)
            store3(scratch, context + 3 * TILE_BYTES, ROW_BYTES)

    return mix


_PLACES = BytePlaces(_queries_place, _scores_place, _probabilities_place, _context_place)


@functools.cache
def tiled_attention_kernel(depth: int) -> Kernel:
    """The kernel for heads of so many features."""
    unit = tile_unit("s8u8")
    head = byte_head(_PLACES, _score_keys(), _mix_values(depth))
    return attend_kernel("attention_u8_tiles", depth, head, _PLACES.context, unit.configure, unit.release)


# Those that are offered.
KERNELS = {} if EMULATED else {depth: tiled_attention_kernel(depth) for depth in DEPTHS}
