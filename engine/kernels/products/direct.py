"""The epilogue that most float32 products have, without looking at each of its parts for every vector.

    y = least(high, greatest(low, sums + bias + residual))        float32 in, an f32 panel out

From products of bfloat16 also pairs, or both. No activation, Relu and Clip are bounds. The same operations in the same
order as the program of epilogue.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from engine.jit import F32, I32, inner, instruction, ir
from engine.kernels.products.activation import ACTIVATIONS
from engine.kernels.simd.arithmetic import maximum, splat_f32
from engine.kernels.simd.arithmetic import minimum as lesser
from engine.kernels.simd.memory import at, load_f32, load_vector, read_f32, splat, store_f32
from engine.kernels.simd.pairs import finite_pairs
from engine.kernels.simd.tile import tile_operations

_NONE, _RELU, _CLIP = (ACTIVATIONS[name] for name in ("none", "relu", "clip"))
_LONG = ir.IntType(64)


class Direct(NamedTuple):
    """What is done with sums: on is 1 where this is all of it.

    bias, residual   addresses; 0: none
    low, high        bounds
    stride           bytes from row to row of y and of the residual
    rows             0: nobody wants y
    pair_stride      bytes from pair to pair; 0: nobody wants pairs
    """

    on: int
    bias: int
    residual: int
    low: Any
    high: Any
    stride: int
    rows: int
    pair_stride: int


@inner
def direct_of(e: Any, integer: int, activation: int, store: int) -> Direct:
    """What an epilogue's record says; three of its fields may be constants to the compiler."""
    d = _bounded_of(e, integer, activation, store)
    on = d.on if e.planes == 0 and e.y != 0 else 0
    return Direct(on, d.bias, d.residual, d.low, d.high, d.stride, 1, 0)


@inner
def direct_with_pairs_of(e: Any, integer: int, activation: int, store: int) -> Direct:
    """The same where pairs may be stored beside the panel, or instead of it: their vectors of lanes lie together."""
    d = _bounded_of(e, integer, activation, store)
    on = d.on if e.planes == 0 or e.planes_vector == 64 else 0
    pair_stride = e.planes_row if e.planes != 0 else 0
    return Direct(on, d.bias, d.residual, d.low, d.high, d.stride, 1 if e.y != 0 else 0, pair_stride)


@inner
def _bounded_of(e: Any, integer: int, activation: int, store: int) -> Direct:
    low, high = np.float32(-np.inf), np.float32(np.inf)
    if activation == _RELU:
        low = np.float32(0)
    if activation == _CLIP:
        low, high = e.first_number, e.second_number
    rounds = e.product_step != np.float32(0) or e.summed_step != np.float32(0)
    bounded = activation in (_NONE, _RELU, _CLIP)
    plain = integer == 0 and store == 0
    on = 1 if plain and bounded and not rounds and e.residual_step == np.float32(0) else 0
    return Direct(on, e.bias, e.residual, low, high, e.row_bytes, 1, 0)


@inner
def finish_directly(
    d: Direct, sums: int, stride: int, row: int, rows: int, residual: int, y: int, lane_bytes: int
) -> None:
    """Rows of sums that lie in memory; `residual` and y are the first row's addresses."""
    low, high = splat_f32(d.low), splat_f32(d.high)
    for r in range(rows):
        bias = splat_f32(np.float32(0))
        if d.bias != 0:
            bias = splat_f32(read_f32(d.bias + 4 * (row + r)))
        x, place = sums + r * stride, y + r * d.stride
        if d.residual != 0:
            addend = residual + r * d.stride
            for lane in range(0, lane_bytes, 64):
                value = load_f32(x + lane) + bias + load_f32(addend + lane)
                store_f32(lesser(high, maximum(low, value)), place + lane)
        else:
            for lane in range(0, lane_bytes, 64):
                value = load_f32(x + lane) + bias
                store_f32(lesser(high, maximum(low, value)), place + lane)


def _offset(b: ir.IRBuilder, stride: Any, row: int, vector: int) -> Any:
    return b.add(b.mul(stride, ir.Constant(_LONG, row)), ir.Constant(_LONG, 64 * vector))


@functools.cache
def _bounded_tile(rows: int, vectors: int, kind: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """bounded(tile, bias, low, high), and the same that adds a residual: (.., residual, stride); tiles of sums to results.

    `bias` is the address of the tile's first row.
    """
    vector, tile_type = F32.llvm_type, tile_operations(rows, vectors, kind).kind

    def emit(
        b: ir.IRBuilder, tile: Any, bias: Any, low: Any, high: Any, residual: Any = None, stride: Any = None
    ) -> Any:
        least, most = splat(b, low, vector), splat(b, high, vector)
        for r in range(rows):
            place = b.add(bias, ir.Constant(_LONG, 4 * r))
            added = splat(b, b.load(at(b, place, vector.element), align=4), vector)
            for v in range(vectors):
                x = b.fadd(b.extract_value(tile, r * vectors + v), added)
                if residual is not None:
                    x = b.fadd(x, load_vector(b, b.add(residual, _offset(b, stride, r, v)), vector))
                x = b.select(b.fcmp_ordered(">", least, x), least, x)
                x = b.select(b.fcmp_ordered("<", most, x), most, x)
                tile = b.insert_value(tile, x, r * vectors + v)
        return tile

    plain = instruction(tile_type, (tile_type, "i64", "f32", "f32"), emit)
    return plain, instruction(tile_type, (tile_type, "i64", "f32", "f32", "i64", "i64"), emit)


@functools.cache
def _save_pairs(rows: int, vectors: int) -> Callable[..., None]:
    """save(tile, y, stride): an even number of rows, each two of them as a row of pairs."""

    def emit(b: ir.IRBuilder, tile: Any, y: Any, stride: Any) -> None:
        for r in range(0, rows, 2):
            for v in range(vectors):
                even, odd = (b.extract_value(tile, (r + i) * vectors + v) for i in range(2))
                place = b.add(y, _offset(b, stride, r // 2, v))
                b.store(finite_pairs(b, even, odd), at(b, place, I32.llvm_type), align=4)

    return instruction("void", (tile_operations(rows, vectors, "bf16").kind, "i64", "i64"), emit)


def makes_pairs(rows: int, kind: str) -> bool:
    """Whether tiles of so many rows leave registers as pairs: two rows at a time."""
    return kind == "bf16" and rows % 2 == 0


@functools.cache
def tile_finisher(rows: int, vectors: int, kind: str) -> Callable[..., None]:
    """The inner function that stores a tile of sums: (d, sums, bias, y, residual, pairs), addresses of its first row.

    kind   "f32", or "bf16": then as `direct_with_pairs_of` allows, where it `makes_pairs`
    """
    bounded, added = _bounded_tile(rows, vectors, kind)
    save = tile_operations(rows, vectors, kind).save
    if not makes_pairs(rows, kind):

        @inner
        def finish(d: Any, sums: Any, bias: int, y: int, residual: int, pairs: int) -> None:
            if d.residual != 0:
                save(added(sums, bias, d.low, d.high, residual, d.stride), y, d.stride)
            else:
                save(bounded(sums, bias, d.low, d.high), y, d.stride)

        return finish
    save_pairs = _save_pairs(rows, vectors)

    @inner
    def finish_pairs(d: Any, sums: Any, bias: int, y: int, residual: int, pairs: int) -> None:
        if d.residual != 0:
            sums = added(sums, bias, d.low, d.high, residual, d.stride)
        else:
            sums = bounded(sums, bias, d.low, d.high)
        if d.rows != 0:
            save(sums, y, d.stride)
        if d.pair_stride != 0:
            save_pairs(sums, pairs, d.pair_stride)

    return finish_pairs
