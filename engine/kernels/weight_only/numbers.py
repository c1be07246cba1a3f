"""Stored numbers as float32 vectors of sixteen rows, in registers, without converting any.

    32-bit value            .. |number i+1|number i|.. |           number i stands at bit p
    & mask of number i, | bits of 2**(23 - p)      ->  2**(23 - p) + number, as a float32 whose bit p counts 1
    - (2**(23 - p) + zero)                         ->  number - zero, exactly

A mask and an or are one instruction of AVX-512 and run wherever there is room; shifts are needed only for what stands
beyond the 23 bits of a float32's fraction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.jit import F32, I32, active_level, instruction, ir
from engine.jit.vector import Vector
from engine.kernels.simd.memory import at, load_vector, splat
from engine.kernels.simd.tile import multiply_add
from engine.kernels.weight_only.pack import GROUP, STRIP, VECTORS

_F32, _I32, _LONG = F32.llvm_type, I32.llvm_type, ir.IntType(64)
_BYTES = ir.VectorType(ir.IntType(8), 16)
_FRACTION = 23


def _shifted(b: ir.IRBuilder, address: Any, count: int) -> Any:
    return b.add(address, ir.Constant(_LONG, count))


def _all(number: int) -> ir.Constant:
    return ir.Constant(_I32, [number] * 16)


def _in_place(bits: int) -> int:
    """Numbers of a 32-bit value that stand within the fraction."""
    return _FRACTION // bits


def _raised(b: ir.IRBuilder, bits: int, words: Any, i: int) -> Any:
    """2**(23 - p) + number i of each value, p its bit."""
    p, mask = bits * i, (1 << bits) - 1
    exponent = 127 + _FRACTION - p << _FRACTION
    return b.bitcast(b.or_(b.and_(words, _all(mask << p)), _all(exponent)), _F32)


def _group(b: ir.IRBuilder, bits: int, numbers: Any, v: int) -> list[tuple[Any, int]]:
    """(raised number, its place i) of each of eight steps, vector v."""
    each, inside = 32 // bits, _in_place(bits)
    found = []
    for first in range(0, GROUP, each):
        words = load_vector(b, _shifted(b, numbers, 4 * STRIP * first // each + 64 * v), _I32)
        for part in range(0, each, inside):
            here = b.lshr(words, _all(bits * part)) if part else words
            found += [(_raised(b, bits, here, i), i) for i in range(min(inside, each - part))]
    return found


def _single(b: ir.IRBuilder, bits: int, numbers: Any, v: int, i: Any) -> Any:
    """The raised number, at place 0, of step i < 8 of a group: known at run time only."""
    each = 32 // bits
    row = b.mul(b.udiv(i, ir.Constant(_LONG, each)), ir.Constant(_LONG, 4 * STRIP))
    words = load_vector(b, _shifted(b, b.add(numbers, row), 64 * v), _I32)
    shift = b.mul(b.urem(i, ir.Constant(_LONG, each)), ir.Constant(_LONG, bits))
    return _raised(b, bits, b.lshr(words, splat(b, b.trunc(shift, ir.IntType(32)), _I32)), 0)


def _zeros_type(bits: int, vectors: int) -> Vector:
    return Vector(f"raised_zeros_{bits}x{vectors}", ir.ArrayType(_F32, _in_place(bits) * vectors))


@functools.cache
def raised_zeros(bits: int, vectors: int) -> Callable[..., Any]:
    """The instruction (address of u8 zero points) -> 2**(23 - p) + zero of each place and vector, as one value."""
    kind = _zeros_type(bits, vectors)

    def emit(b: ir.IRBuilder, zeros: Any) -> Any:
        made: Any = ir.Constant(kind.llvm_type, ir.Undefined)
        for v in range(vectors):
            stored = b.load(at(b, _shifted(b, zeros, 16 * v), _BYTES), align=1)
            zero = b.sitofp(b.zext(stored, _I32), _F32)
            for i in range(_in_place(bits)):
                power = ir.Constant(_F32, [2.0 ** (_FRACTION - bits * i)] * 16)
                made = b.insert_value(made, b.fadd(zero, power), i * vectors + v)
        return made

    return instruction(kind, ("i64",), emit)


@functools.cache
def expansion(bits: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Two instructions that write weights as float32, 48 rows a step, 192 bytes from one step to the next.

    (raised zeros, scales, numbers, target)            a group of eight steps
    (raised zeros, scales, numbers, i, target)         step i of a group
    """
    zeros_type = _zeros_type(bits, VECTORS)

    def store(b: ir.IRBuilder, difference: Any, scales: Any, target: Any, v: int) -> None:
        w = b.fmul(difference, load_vector(b, _shifted(b, scales, 64 * v), _F32))
        b.store(w, at(b, _shifted(b, target, 64 * v), _F32), align=4)

    def group(b: ir.IRBuilder, zeros: Any, scales: Any, numbers: Any, target: Any) -> None:
        for v in range(VECTORS):
            for step, (raised, i) in enumerate(_group(b, bits, numbers, v)):
                difference = b.fsub(raised, b.extract_value(zeros, i * VECTORS + v))
                store(b, difference, scales, _shifted(b, target, 4 * STRIP * step), v)

    def single(b: ir.IRBuilder, zeros: Any, scales: Any, numbers: Any, i: Any, target: Any) -> None:
        for v in range(VECTORS):
            difference = b.fsub(_single(b, bits, numbers, v, i), b.extract_value(zeros, v))
            store(b, difference, scales, target, v)

    return (
        instruction("void", (zeros_type, "i64", "i64", "i64"), group),
        instruction("void", (zeros_type, "i64", "i64", "i64", "i64"), single),
    )


@dataclass(frozen=True, slots=True)
class RowTile:
    """Operations on a tile of lanes x vectors of rows. A lane's x at step i is at x + 64 i + 4 lane.

    zero()
    group(tile, raised zeros, numbers, x)        tile[lane][v] += (number - zero)[v] * x[lane], eight steps
    single(tile, raised zeros, numbers, i, x)    step i of a group alone
    finish(tile, scales, y, stride)              row `lane` of y, at stride, += tile[lane] * scale
    """

    zero: Callable[..., Any]
    group: Callable[..., Any]
    single: Callable[..., Any]
    finish: Callable[..., Any]


@functools.cache
def row_tile(lanes: int, vectors: int, bits: int) -> RowTile:
    """The operations for one shape of tile."""
    tile = Vector(f"tile_rows_{lanes}x{vectors}", ir.ArrayType(_F32, lanes * vectors))
    zeros_type = _zeros_type(bits, vectors)

    def multiplied(b: ir.IRBuilder, sums: Any, v: int, w: Any, x: Any) -> Any:
        for lane in range(lanes):
            i = lane * vectors + v
            value = b.load(at(b, _shifted(b, x, 4 * lane), ir.FloatType()), align=4)
            total = multiply_add(b, b.extract_value(sums, i), splat(b, value, _F32), w)
            sums = b.insert_value(sums, total, i)
        return sums

    def group(b: ir.IRBuilder, sums: Any, zeros: Any, numbers: Any, x: Any) -> Any:
        columns = [_group(b, bits, numbers, v) for v in range(vectors)]
        for step in range(GROUP):
            for v in range(vectors):
                raised, i = columns[v][step]
                w = b.fsub(raised, b.extract_value(zeros, i * vectors + v))
                sums = multiplied(b, sums, v, w, _shifted(b, x, 64 * step))
        return sums

    def single(b: ir.IRBuilder, sums: Any, zeros: Any, numbers: Any, i: Any, x: Any) -> Any:
        for v in range(vectors):
            w = b.fsub(_single(b, bits, numbers, v, i), b.extract_value(zeros, v))
            sums = multiplied(b, sums, v, w, x)
        return sums

    def finish(b: ir.IRBuilder, sums: Any, scales: Any, y: Any, stride: Any) -> None:
        for lane in range(lanes):
            row = b.add(y, b.mul(stride, ir.Constant(_LONG, lane)))
            for v in range(vectors):
                place, scale = _shifted(b, row, 64 * v), load_vector(b, _shifted(b, scales, 64 * v), _F32)
                total = load_vector(b, place, _F32)
                total = multiply_add(b, total, b.extract_value(sums, lane * vectors + v), scale)
                b.store(total, at(b, place, _F32), align=4)

    return RowTile(
        instruction(tile, (), lambda _b: ir.Constant(tile.llvm_type, None)),
        instruction(tile, (tile, zeros_type, "i64", "i64"), group),
        instruction(tile, (tile, zeros_type, "i64", "i64", "i64"), single),
        instruction("void", (tile, "i64", "i64", "i64"), finish),
    )


def register_tiles() -> list[tuple[int, int]]:
    """(lanes, vectors) of the row tiles whose sums and a weight fit the registers.

    One or two lanes need three vectors to have enough sums in flight; more lanes leave room for zero points.
    """
    level = active_level()
    each = 64 // level.width
    tiles = (
        (lanes, VECTORS if lanes <= 2 and (2 * VECTORS + 1) * each < level.registers else 1)
        for lanes in (1, 2, 4, 8)
    )
    return [(lanes, vectors) for lanes, vectors in tiles if (lanes * vectors + 1) * each < level.registers]
