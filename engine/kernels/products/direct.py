"""The epilogue that most float32 products have, without looking at each of its parts for every vector.

    y = least(high, greatest(low, sums + bias + residual))        float32 in, an f32 panel out

No activation, Relu and Clip are bounds. The same operations in the same order as the program of epilogue.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from engine.jit import F32, inner, instruction, ir
from engine.kernels.products.activation import ACTIVATIONS
from engine.kernels.simd.arithmetic import maximum, splat_f32
from engine.kernels.simd.arithmetic import minimum as lesser
from engine.kernels.simd.memory import at, load_f32, load_vector, read_f32, splat, store_f32
from engine.kernels.simd.tile import tile_operations

_NONE, _RELU, _CLIP = (ACTIVATIONS[name] for name in ("none", "relu", "clip"))
_LONG = ir.IntType(64)


class Direct(NamedTuple):
    """What is done with sums: on is 1 where this is all of it.

    bias, residual   addresses; 0: none
    low, high        bounds
    stride           bytes from row to row of y and of the residual
    """

    on: int
    bias: int
    residual: int
    low: Any
    high: Any
    stride: int


@inner
def direct_of(e: Any, integer: int, activation: int, store: int) -> Direct:
    """What an epilogue's record says; three of its fields may be constants to the compiler."""
    low, high = np.float32(-np.inf), np.float32(np.inf)
    if activation == _RELU:
        low = np.float32(0)
    if activation == _CLIP:
        low, high = e.first_number, e.second_number
    rounds = e.product_step != np.float32(0) or e.summed_step != np.float32(0)
    bounded = activation in (_NONE, _RELU, _CLIP)
    plain = integer == 0 and store == 0 and e.planes == 0 and e.y != 0
    on = 1 if plain and bounded and not rounds and e.residual_step == np.float32(0) else 0
    return Direct(on, e.bias, e.residual, low, high, e.row_bytes)


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


@functools.cache
def tile_finishers(rows: int, vectors: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """finish(tile, y, stride, bias, low, high), and the same that adds a residual: (.., residual).

    From registers to y; `bias` is the address of the tile's first row.
    """
    vector = F32.llvm_type

    def emit(
        b: ir.IRBuilder, tile: Any, y: Any, stride: Any, bias: Any, low: Any, high: Any, residual: Any = None
    ) -> None:
        least, most = splat(b, low, vector), splat(b, high, vector)
        for r in range(rows):
            place = b.add(bias, ir.Constant(_LONG, 4 * r))
            added = splat(b, b.load(at(b, place, vector.element), align=4), vector)
            for v in range(vectors):
                offset = b.add(b.mul(stride, ir.Constant(_LONG, r)), ir.Constant(_LONG, 64 * v))
                x = b.fadd(b.extract_value(tile, r * vectors + v), added)
                if residual is not None:
                    x = b.fadd(x, load_vector(b, b.add(residual, offset), vector))
                x = b.select(b.fcmp_ordered(">", least, x), least, x)
                x = b.select(b.fcmp_ordered("<", most, x), most, x)
                b.store(x, at(b, b.add(y, offset), vector), align=4)

    kind = tile_operations(rows, vectors, "f32").kind
    long, number = "i64", "f32"
    plain = instruction("void", (kind, long, long, long, number, number), emit)
    adding = instruction("void", (kind, long, long, long, number, number, long), emit)
    return plain, adding
