"""A strip of dense weights by so few lanes that a vector of them would be mostly padding.

    x lane 0   ->   sums of twelve rows        a step of k: twelve weights in one vector, four broadcasts of x,
    x lane 1   ->   sums of twelve rows        four products, where a vector of lanes takes twelve
    ..

Four lanes are always computed; what lies behind those that there are is as finite as they are. One lane behind three
vectors (7 x 7 pixels) goes with the first register tile of those. Every sum is made in the order of k, as it is in a vector
of lanes: of the same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import active_level, inner
from engine.kernels.products.arguments import STREAM_AHEAD, STRIP
from engine.kernels.simd.arithmetic import (
    bits_of,
    from_bits,
    fused_multiply_add,
    splat_f32,
    splat_i32,
)
from engine.kernels.simd.dot import dot_u8s8
from engine.kernels.simd.memory import (
    load_i32,
    load_twelve,
    prefetch,
    read_f32,
    read_i32,
    scatter_twelve,
    store_f32,
)
from engine.kernels.simd.pairs import add_product_of_pairs
from engine.kernels.simd.tile import HAS_FUSED, tile_operations

# A step of k beside that over a whole vector: 4.6 and 12 cycles, on Zen 4.
FEW_SHARE = 0.4
# The same of one lane that goes with three vectors.
LANE_SHARE = 0.12
# Whether a vector may be loaded in part without a detour.
HAS_FEW = active_level().width == 64


def _add_of(kind: str) -> Callable[..., Any]:
    """(sums of twelve rows, their weights, address of one lane's x) -> the sums after a step of k."""

    @inner
    def add_numbers(total: Any, weights: Any, lane: int) -> Any:
        x = splat_f32(read_f32(lane))
        return fused_multiply_add(weights, x, total) if HAS_FUSED else total + weights * x

    @inner
    def add_quads(total: Any, weights: Any, lane: int) -> Any:
        return from_bits(dot_u8s8(bits_of(total), splat_i32(read_i32(lane)), bits_of(weights)))

    @inner
    def add_pairs(total: Any, weights: Any, lane: int) -> Any:
        return add_product_of_pairs(total, from_bits(splat_i32(read_i32(lane))), weights)

    return {"f32": add_numbers, "bf16": add_pairs, "u8s8": add_quads}[kind]


@inner
def _put_lane(sums: Any, y: int, row_bytes: int) -> None:
    """The sums of a strip's rows in one lane, and zeros in the fifteen behind it."""
    # What scratch held before might not be finite.
    for row in range(STRIP):
        store_f32(splat_f32(np.float32(0)), y + row * row_bytes)
    scatter_twelve(sums, y, row_bytes)


@functools.cache
def few_lane_sums(kind: str) -> Callable[..., None]:
    """What multiplies a strip by the few lanes from x on, and puts its sums [row][lane] at y: (a, strip, x, y).

    kind   "f32", "bf16", or "u8s8" for integer sums that begin at `start`
    """
    add, integer = _add_of(kind), kind == "u8s8"

    @inner
    def few_sums(a: Any, strip: int, x: int, y: int) -> None:
        w, first, row_bytes = a.w + strip * a.k * 4 * STRIP, a.start + 4 * strip * STRIP, a.row_bytes
        start = from_bits(load_i32(first) if integer else splat_i32(0))
        s0, s1, s2, s3 = start, start, start, start
        for _ in range(a.k):
            prefetch(w + STREAM_AHEAD)
            weights = load_twelve(w)
            s0, s1 = add(s0, weights, x), add(s1, weights, x + 4)
            s2, s3 = add(s2, weights, x + 8), add(s3, weights, x + 12)
            w += 4 * STRIP
            x += row_bytes
        _put_lane(s0, y, row_bytes)
        scatter_twelve(s1, y + 4, row_bytes)
        scatter_twelve(s2, y + 8, row_bytes)
        scatter_twelve(s3, y + 12, row_bytes)

    return few_sums


@functools.cache
def tile_and_lane_sums(rows: int, vectors: int, kind: str) -> Callable[..., Any]:
    """The sums of a strip's first register tile; those of all its rows in the one lane behind it go to y.

    Called with (a, strip, x, y). One product more a step, whose latency the tile's hide.
    """
    tile, add, integer = tile_operations(rows, vectors, kind), _add_of(kind), kind == "u8s8"
    spread, zero, step, lane = tile.spread, tile.zero, tile.step, 64 * vectors

    @inner
    def multiply(a: Any, strip: int, x: int, y: int) -> Any:
        w, first, row_bytes = a.w + strip * a.k * 4 * STRIP, a.start + 4 * strip * STRIP, a.row_bytes
        total = from_bits(load_i32(first) if integer else splat_i32(0))
        sums = spread(first, 4) if integer else zero()
        for _ in range(a.k):
            prefetch(w + STREAM_AHEAD)
            sums = step(sums, w, 4, x)
            total = add(total, load_twelve(w), x + lane)
            w += 4 * STRIP
            x += row_bytes
        _put_lane(total, y, row_bytes)
        return sums

    return multiply
