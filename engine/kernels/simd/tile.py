"""Register tiles: rows x vectors of sums that stay in registers through a whole loop.

                 x[k] ──>  vector 0   vector 1 ...
    w[0][k] broadcast  ->   sum 0,0    sum 0,1
    w[1][k] broadcast  ->   sum 1,0    sum 1,1          one step of k: `vectors` loads, `rows` broadcasts,
    ...                                                 rows x vectors multiply-adds

A tile is one LLVM array value; LLVM takes it apart into registers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.jit import F32, I32, active_features, active_level, instruction, ir
from engine.jit.instruction import call
from engine.jit.vector import Vector
from engine.kernels.simd.dot import dot_product
from engine.kernels.simd.memory import at, load_vector, splat
from engine.kernels.simd.pairs import pair_product

_LONG = ir.IntType(64)


@dataclass(frozen=True, slots=True)
class TileOperations:
    """What can be done with tiles of one shape, whose type is `kind`. Addresses and strides are bytes.

    spread(w, stride)          every vector of row r is the 32-bit value at w + r * stride, broadcast
    zero()
    load(y, stride)            row r from y + r * stride
    save(tile, y, stride)
    step(tile, w, stride, x)   tile[r][v] += broadcast(w + r * stride) * vector(x + 64 v)
    """

    rows: int
    vectors: int
    kind: Any
    spread: Callable[..., Any]
    zero: Callable[..., Any]
    load: Callable[..., Any]
    save: Callable[..., Any]
    step: Callable[..., Any]


def _offset(builder: ir.IRBuilder, address: Any, stride: Any, count: int) -> Any:
    return builder.add(address, builder.mul(stride, ir.Constant(_LONG, count)))


def _shifted(builder: ir.IRBuilder, address: Any, count: int) -> Any:
    return builder.add(address, ir.Constant(_LONG, count))


# Where the machine has no fused multiply-add, every lane's would be a call of the C library.
HAS_FUSED = active_level().name == "neon" or "fma" in active_features()


def multiply_add(builder: ir.IRBuilder, total: Any, x: Any, w: Any) -> Any:
    """total + x * w in float32: one rounding where the machine has the instruction, else two."""
    if HAS_FUSED:
        return call(builder, "llvm.fma.v16f32", total.type, [w, x, total])
    return builder.fadd(total, builder.fmul(w, x))


def _multiply_add(builder: ir.IRBuilder, kind: str, total: Any, x: Any, w: Any) -> Any:
    if kind == "f32":
        return multiply_add(builder, total, x, w)
    if kind == "bf16":
        return pair_product(builder, total, x, w)
    return dot_product(builder, total, x, w) if kind == "u8s8" else dot_product(builder, total, w, x)


@functools.cache
def tile_operations(rows: int, vectors: int, kind: str) -> TileOperations:
    """Operations on tiles of a kind.

    kind   "f32"; "bf16": float32 sums of pairs; int32 sums of quads: "u8s8" (x unsigned, w signed) or "s8u8"
    """
    vector = F32.llvm_type if kind in ("f32", "bf16") else I32.llvm_type
    tile = Vector(f"tile_{kind}_{rows}x{vectors}", ir.ArrayType(vector, rows * vectors))
    cells = [(r, v, r * vectors + v) for r in range(rows) for v in range(vectors)]

    def gather(builder: ir.IRBuilder, make: Callable[[int, int], Any]) -> Any:
        value = ir.Constant(tile.llvm_type, ir.Undefined)
        for r, v, i in cells:
            value = builder.insert_value(value, make(r, v), i)
        return value

    def broadcast(b: ir.IRBuilder, w: Any, stride: Any, r: int) -> Any:
        return splat(b, b.load(at(b, _offset(b, w, stride, r), vector.element), align=4), vector)

    def spread(b: ir.IRBuilder, w: Any, stride: Any) -> Any:
        values = [broadcast(b, w, stride, r) for r in range(rows)]
        return gather(b, lambda r, _v: values[r])

    def load(b: ir.IRBuilder, y: Any, stride: Any) -> Any:
        return gather(b, lambda r, v: load_vector(b, _shifted(b, _offset(b, y, stride, r), 64 * v), vector))

    def save(b: ir.IRBuilder, value: Any, y: Any, stride: Any) -> None:
        for r, v, i in cells:
            place = at(b, _shifted(b, _offset(b, y, stride, r), 64 * v), vector)
            b.store(b.extract_value(value, i), place, align=4)

    def step(b: ir.IRBuilder, value: Any, w: Any, stride: Any, x: Any) -> Any:
        xs = [load_vector(b, _shifted(b, x, 64 * v), vector) for v in range(vectors)]
        weights = [broadcast(b, w, stride, r) for r in range(rows)]
        for r, v, i in cells:
            total = _multiply_add(b, kind, b.extract_value(value, i), xs[v], weights[r])
            value = b.insert_value(value, total, i)
        return value

    return TileOperations(
        rows,
        vectors,
        tile,
        instruction(tile, ("i64", "i64"), spread),
        instruction(tile, (), lambda _builder: ir.Constant(tile.llvm_type, None)),
        instruction(tile, ("i64", "i64"), load),
        instruction("void", (tile, "i64", "i64"), save),
        instruction(tile, (tile, "i64", "i64", "i64"), step),
    )
