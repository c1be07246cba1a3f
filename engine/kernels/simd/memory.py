"""Loads, stores and broadcasts. Addresses are integers; vectors need no alignment."""

from __future__ import annotations

from typing import Any

from engine.jit import F32, I32, instruction, ir
from engine.jit.instruction import call

_BYTE, _HALF, _WORD, _LONG, _FLOAT = (
    ir.IntType(8),
    ir.IntType(16),
    ir.IntType(32),
    ir.IntType(64),
    ir.FloatType(),
)


def at(builder: ir.IRBuilder, address: Any, kind: ir.Type) -> Any:
    """A typed pointer to an integer address."""
    return builder.inttoptr(address, ir.PointerType(kind))


def splat(builder: ir.IRBuilder, scalar: Any, vector: ir.VectorType) -> Any:
    """The scalar in every lane."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(_WORD, 0))
    zeros = ir.Constant(ir.VectorType(_WORD, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def load_vector(builder: ir.IRBuilder, address: Any, vector: ir.VectorType) -> Any:
    """A vector from an address of any alignment."""
    return builder.load(at(builder, address, vector), align=1)


def _store_vector(builder: ir.IRBuilder, value: Any, address: Any) -> None:
    builder.store(value, at(builder, address, value.type), align=4)


def _store_first(b: ir.IRBuilder, value: Any, address: Any, count: Any) -> None:
    lanes = ir.Constant(I32.llvm_type, list(range(16)))
    mask = b.icmp_signed("<", lanes, splat(b, b.trunc(count, _WORD), I32.llvm_type))
    place = at(b, address, value.type)
    call(b, "llvm.masked.store.v16f32.p0", ir.VoidType(), [value, place, ir.Constant(_WORD, 4), mask])


def _load_twelve(b: ir.IRBuilder, address: Any) -> Any:
    kind = F32.llvm_type
    mask = ir.Constant(ir.VectorType(ir.IntType(1), 16), [lane < 12 for lane in range(16)])
    operands = [at(b, address, kind), ir.Constant(_WORD, 4), mask, ir.Constant(kind, None)]
    return call(b, "llvm.masked.load.v16f32.p0", kind, operands)


def _scatter_twelve(b: ir.IRBuilder, value: Any, address: Any, stride: Any) -> None:
    for lane in range(12):
        number = b.extract_element(value, ir.Constant(_WORD, lane))
        place = b.add(address, b.mul(stride, ir.Constant(_LONG, lane)))
        b.store(number, at(b, place, _FLOAT), align=4)


def _gather(row: int, lane: int) -> Any:
    def emit(b: ir.IRBuilder, base: Any, table: Any) -> Any:
        value = ir.Constant(F32.llvm_type, ir.Undefined)
        for i in range(16):
            place = b.load(at(b, b.add(table, ir.Constant(_LONG, 4 * i)), _WORD), align=4)
            moved = b.add(base, b.mul(b.sext(place, _LONG), ir.Constant(_LONG, row)))
            number = b.load(at(b, b.add(moved, ir.Constant(_LONG, lane * i)), _FLOAT), align=4)
            value = b.insert_element(value, number, ir.Constant(_WORD, i))
        return value

    return emit


def _load_scalar(kind: ir.Type, widen: str, to: ir.Type) -> Any:
    def emit(builder: ir.IRBuilder, address: Any) -> Any:
        value = builder.load(at(builder, address, kind), align=1)
        return getattr(builder, widen)(value, to) if widen else value

    return emit


def _store_scalar(kind: ir.Type) -> Any:
    def emit(builder: ir.IRBuilder, value: Any, address: Any) -> None:
        narrow = builder.trunc(value, kind) if value.type != kind else value
        builder.store(narrow, at(builder, address, kind), align=1)

    return emit


def _prefetch(builder: ir.IRBuilder, address: Any, locality: int) -> None:
    kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _WORD, _WORD, _WORD])
    function = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
        builder.module, kind, "llvm.prefetch.p0"
    )
    builder.call(function, [at(builder, address, _BYTE), *(ir.Constant(_WORD, n) for n in (0, locality, 1))])


load_f32 = instruction(F32, ("i64",), lambda b, a: load_vector(b, a, F32.llvm_type))
load_i32 = instruction(I32, ("i64",), lambda b, a: load_vector(b, a, I32.llvm_type))
# Twelve numbers, and four zeros: nothing behind the twelve is touched.
load_twelve = instruction(F32, ("i64",), _load_twelve)
store_f32 = instruction("void", (F32, "i64"), _store_vector)
store_i32 = instruction("void", (I32, "i64"), _store_vector)
# The first twelve lanes, one every so many bytes.
scatter_twelve = instruction("void", (F32, "i64", "i64"), _scatter_twelve)
# Only the first `count` lanes; what lies behind them is neither written nor touched.
store_first = instruction("void", (F32, "i64", "i64"), _store_first)

# By sixteen int32 at `table`: lane i of the row, or the number, that the i-th of them says.
gather_lanes = instruction(F32, ("i64", "i64"), _gather(64, 4))
gather_numbers = instruction(F32, ("i64", "i64"), _gather(4, 0))

read_f32 = instruction("f32", ("i64",), _load_scalar(_FLOAT, "", _FLOAT))
read_i64 = instruction("i64", ("i64",), _load_scalar(_LONG, "", _LONG))
read_i32 = instruction("i64", ("i64",), _load_scalar(_WORD, "sext", _LONG))
read_u16 = instruction("i64", ("i64",), _load_scalar(_HALF, "zext", _LONG))
read_u8 = instruction("i64", ("i64",), _load_scalar(_BYTE, "zext", _LONG))
read_s8 = instruction("i64", ("i64",), _load_scalar(_BYTE, "sext", _LONG))
write_f32 = instruction("void", ("f32", "i64"), _store_scalar(_FLOAT))
write_i32 = instruction("void", ("i64", "i64"), _store_scalar(_WORD))
write_i64 = instruction("void", ("i64", "i64"), _store_scalar(_LONG))
write_u8 = instruction("void", ("i64", "i64"), _store_scalar(_BYTE))

# Ask for a line: into all caches, or no closer than L2.
prefetch = instruction("void", ("i64",), lambda b, a: _prefetch(b, a, 3))
prefetch_l2 = instruction("void", ("i64",), lambda b, a: _prefetch(b, a, 2))
