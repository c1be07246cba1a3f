"""A strip of dense weights by so few lanes that a vector of them would be mostly padding.

    x lane 0   ->   sums of twelve rows        a step of k: twelve weights in one vector, four broadcasts of x,
    x lane 1   ->   sums of twelve rows        four products, where a vector of lanes takes twelve
    ..

Four lanes are always computed; what lies behind those that there are is as finite as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.jit import I32, active_level, inner, instruction, ir
from engine.jit.instruction import call
from engine.kernels.layout import MOST_FEW
from engine.kernels.products.arguments import STREAM_AHEAD, STRIP
from engine.kernels.simd.arithmetic import splat_i32
from engine.kernels.simd.dot import dot_u8s8
from engine.kernels.simd.memory import at, load_i32, prefetch, read_i32, store_i32, write_i32
from engine.kernels.simd.tile import tile_operations

# Whether a vector may be loaded in part without a detour.
HAS_FEW = active_level().width == 64
# Sums by lane, before they are put where the epilogue looks.
FEW_SCRATCH = 64 * MOST_FEW


def _twelve(b: ir.IRBuilder, address: Any) -> Any:
    bit, kind = ir.IntType(1), I32.llvm_type
    mask = ir.Constant(ir.VectorType(bit, 16), [int(i < STRIP) for i in range(16)])
    arguments = [at(b, address, kind), ir.Constant(ir.IntType(32), 4), mask, ir.Constant(kind, None)]
    return call(b, "llvm.masked.load.v16i32.p0", kind, arguments)


_load_twelve = instruction(I32, ("i64",), _twelve)


def _few_sums(*, with_vector: bool) -> Callable[..., None]:
    tile = tile_operations(STRIP, 1, "u8s8")
    spread, step, save = tile.spread, tile.step, tile.save

    @inner
    def few_sums(a: Any, strip: int, x: int, y: int, scratch: int) -> None:
        w, first = a.w + strip * a.k * 4 * STRIP, a.start + 4 * strip * STRIP
        start, whole = load_i32(first), spread(first, 4)
        s0, s1, s2, s3 = start, start, start, start
        lanes = x
        for _ in range(a.k):
            prefetch(w + STREAM_AHEAD)
            weights = _load_twelve(w)
            s0 = dot_u8s8(s0, splat_i32(read_i32(lanes)), weights)
            s1 = dot_u8s8(s1, splat_i32(read_i32(lanes + 4)), weights)
            s2 = dot_u8s8(s2, splat_i32(read_i32(lanes + 8)), weights)
            s3 = dot_u8s8(s3, splat_i32(read_i32(lanes + 12)), weights)
            if with_vector:
                whole = step(whole, w, 4, lanes - 64)
            w += 4 * STRIP
            lanes += a.row_bytes
        if with_vector:
            save(whole, y - 64, a.row_bytes)
        store_i32(s0, scratch)
        store_i32(s1, scratch + 64)
        store_i32(s2, scratch + 128)
        store_i32(s3, scratch + 192)
        for row in range(STRIP):
            for lane in range(MOST_FEW):
                write_i32(read_i32(scratch + 64 * lane + 4 * row), y + row * a.row_bytes + 4 * lane)

    return few_sums


# Integer sums of a strip's twelve rows by the lanes from x on, to sums [row][lane] at y; or by the vector before them too.
few_sums, vector_and_few_sums = _few_sums(with_vector=False), _few_sums(with_vector=True)
