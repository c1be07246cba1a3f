"""Sixteen rows of sixteen values turned into sixteen columns, in registers.

sources   16 addresses: where row i begins          targets   16 addresses: where column j goes

         s = 1: rows i and i+1 exchange every other lane;  s = 2: pairs of lanes;  4;  8
a: 0 1 2 3      0 16 2 18
b: 16 17 18 19  1 17 3 19        four rounds of two-input shuffles, 64 in all
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.jit import F32, instruction, ir
from engine.kernels.simd.memory import at, load_vector, splat

_F32, _LONG, _INDEX = F32.llvm_type, ir.IntType(64), ir.VectorType(ir.IntType(32), 16)
_BYTES = ir.VectorType(ir.IntType(8), 16)

Load = Callable[[ir.IRBuilder, Any], Any]


def _exchange(size: int) -> tuple[ir.Constant, ir.Constant]:
    low = [lane if not lane & size else 16 + lane - size for lane in range(16)]
    high = [lane + size if not lane & size else 16 + lane for lane in range(16)]
    return ir.Constant(_INDEX, low), ir.Constant(_INDEX, high)


def _transposed(builder: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    for size in (1, 2, 4, 8):
        low, high = _exchange(size)
        for i in range(16):
            if not i & size:
                a, b = rows[i], rows[i + size]
                rows[i] = builder.shuffle_vector(a, b, low)
                rows[i + size] = builder.shuffle_vector(a, b, high)
    return rows


def _address(builder: ir.IRBuilder, table: Any, i: int, offset: Any) -> Any:
    entry = builder.load(at(builder, builder.add(table, ir.Constant(_LONG, 8 * i)), _LONG), align=8)
    return builder.add(entry, offset)


def _emit(builder: ir.IRBuilder, load: Load, places: tuple[Any, Any, Any, Any]) -> None:
    sources, source_offset, targets, target_offset = places
    rows = [load(builder, _address(builder, sources, i, source_offset)) for i in range(16)]
    for i, column in enumerate(_transposed(builder, rows)):
        builder.store(column, at(builder, _address(builder, targets, i, target_offset), _F32), align=4)


def _emit_columns(count: int) -> Callable[..., None]:
    def emit(b: ir.IRBuilder, source: Any, stride: Any, target: Any, to: Any = None) -> None:
        def moved(address: Any, step: Any, i: int) -> Any:
            return b.add(address, b.mul(step, ir.Constant(_LONG, i)))

        rows = [load_vector(b, moved(source, stride, i), _F32) for i in range(count)]
        rows += [ir.Constant(_F32, None)] * (16 - count)
        apart = ir.Constant(_LONG, 64) if to is None else to
        for i, column in enumerate(_transposed(b, rows)):
            b.store(column, at(b, moved(target, apart, i), _F32), align=4)

    return emit


def _emit_sums(b: ir.IRBuilder, source: Any, stride: Any, target: Any) -> None:
    rows = [load_vector(b, b.add(source, b.mul(stride, ir.Constant(_LONG, i))), _F32) for i in range(16)]
    for j, column in enumerate(_transposed(b, rows)):
        place = at(b, b.add(target, ir.Constant(_LONG, 64 * j)), _F32)
        b.store(b.fadd(b.load(place, align=4), column), place, align=4)


def _bytes(widen: str) -> Callable[[ir.IRBuilder, Any, Any, Any], Any]:
    def load(builder: ir.IRBuilder, address: Any, zero: Any, scale: Any) -> Any:
        values = builder.load(at(builder, address, _BYTES), align=1)
        wide = getattr(builder, widen)(values, _INDEX)
        return builder.fmul(builder.sitofp(builder.sub(wide, zero), _F32), scale)

    return load


def _emit_bytes(widen: str) -> Callable[..., None]:
    load = _bytes(widen)

    def emit(
        b: ir.IRBuilder, sources: Any, offset: Any, targets: Any, to: Any, zero: Any, scale: Any
    ) -> None:
        zeros, scales = splat(b, b.trunc(zero, ir.IntType(32)), _INDEX), splat(b, scale, _F32)
        _emit(
            b, lambda builder, address: load(builder, address, zeros, scales), (sources, offset, targets, to)
        )

    return emit


_ADDRESSES = ("i64", "i64", "i64", "i64")

transpose_f32 = instruction(
    "void",
    _ADDRESSES,
    lambda b, s, so, t, to: _emit(b, lambda builder, a: load_vector(builder, a, _F32), (s, so, t, to)),
)
# (source, its stride, target): column j of sixteen rows is added to the target's row j.
add_transposed = instruction("void", ("i64", "i64", "i64"), _emit_sums)
# (sources, source offset, targets, target offset, zero point, scale): rows of bytes, dequantised on the way.
transpose_u8 = instruction("void", (*_ADDRESSES, "i64", "f32"), _emit_bytes("zext"))
transpose_s8 = instruction("void", (*_ADDRESSES, "i64", "f32"), _emit_bytes("sext"))
# (source, stride, target): eight rows of sixteen 32-bit values to sixteen rows of eight, filled with zeros to sixteen.
transpose_eight = instruction("void", ("i64", "i64", "i64"), _emit_columns(8))
# (source, stride, target, target stride): sixteen rows of sixteen 32-bit values.
transpose_sixteen = instruction("void", ("i64", "i64", "i64", "i64"), _emit_columns(16))
