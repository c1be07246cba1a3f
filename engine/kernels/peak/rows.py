"""Register loops: multiply-adds of float32 and products of quads and pairs, nothing loaded, nothing stored.

    sum[i] = sum[i] * w + x             float32
    sum[i] = sum[i] + quads(sum[i], w)  int8
    sum[i] = sum[i] + pairs(w, w)       bfloat16, where the level has it

Every sum begins with another value and is an operand of its own next step, so that no two can be merged
and nothing leaves the loop. Sums in flight hide the latency of two instructions a cycle.

    tile C += tile A * tile B          AMX, where the level has it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.jit import I32, Kernel, active_level, instruction, ir, kernel, record
from engine.jit.vector import F32, Vector
from engine.kernels.simd.dot import dot_product
from engine.kernels.simd.memory import at, load_vector
from engine.kernels.simd.pairs import HAS_PAIRS, pair_product
from engine.kernels.simd.tile import multiply_add
from engine.kernels.simd.tiles import TILE_MEMORY, TileUnit, tile_unit

PEAK = np.dtype([("iterations", np.int64), ("source", np.int64)], align=True)
peak_of = record(PEAK)
# Sums of sixteen 32-bit lanes that fit the registers beside two operands.
SUMS = max(4, min(12, active_level().registers // (64 // active_level().width) - 2))

Step = Callable[[ir.IRBuilder, Any, Any], Any]


@dataclass(frozen=True, slots=True)
class PeakRow:
    """One register loop; `operations` of an iteration, 2 a multiply-add."""

    kernel: Kernel
    operations: int


def _loop(name: str, vector: Vector, step: Step) -> Kernel:
    sums = Vector(f"sums_{name}", ir.ArrayType(vector.llvm_type, SUMS))

    def load(builder: ir.IRBuilder, address: Any) -> Any:
        value = ir.Constant(sums.llvm_type, ir.Undefined)
        first = load_vector(builder, address, vector.llvm_type)
        for i in range(SUMS):
            start = ir.Constant(vector.llvm_type, [i * 16 + lane + 1 for lane in range(16)])
            add = builder.fadd if vector is F32 else builder.add
            value = builder.insert_value(value, add(first, start), i)
        return value

    def turn(builder: ir.IRBuilder, value: Any, address: Any) -> Any:
        operand = load_vector(builder, address, vector.llvm_type)
        for i in range(SUMS):
            value = builder.insert_value(value, step(builder, builder.extract_value(value, i), operand), i)
        return value

    def save(builder: ir.IRBuilder, value: Any, address: Any) -> None:
        for i in range(SUMS):
            place = builder.add(address, ir.Constant(ir.IntType(64), 64 * i))
            builder.store(builder.extract_value(value, i), at(builder, place, vector.llvm_type), align=4)

    begin, again, finish = (
        instruction(sums, ("i64",), load),
        instruction(sums, (sums, "i64"), turn),
        instruction("void", (sums, "i64"), save),
    )

    @kernel(f"peak_{name}", f"{SUMS}x16")
    def run(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = peak_of(args)
        source, iterations = a.source, a.iterations
        for _ in range(tile_begin, tile_end):
            values = begin(source)
            for _ in range(iterations):
                values = again(values, source)
            finish(values, scratch)

    return run


def _multiply_add(builder: ir.IRBuilder, value: Any, operand: Any) -> Any:
    return multiply_add(builder, operand, value, operand)


def _quads(builder: ir.IRBuilder, value: Any, operand: Any) -> Any:
    return dot_product(builder, value, value, operand)


def _pairs(builder: ir.IRBuilder, value: Any, operand: Any) -> Any:
    return pair_product(builder, value, operand, operand)


def _tile_loop(name: str, unit: TileUnit) -> Kernel:
    """Products of whole tiles: four sums, more than hide the latency of one product, of two tiles either side."""
    clear = [unit.zero(tile) for tile in range(8)]
    zero0, zero1, zero2, zero3, zero4, zero5, zero6, zero7 = clear
    first, second, third, fourth = (
        unit.multiply(c, a, b) for c, a, b in ((0, 4, 6), (1, 4, 7), (2, 5, 6), (3, 5, 7))
    )
    configure, release = unit.configure, unit.release

    @kernel(f"peak_{name}", "4x16x16")
    def run(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        iterations = peak_of(args).iterations
        configure(scratch)
        zero0(scratch)
        zero1(scratch)
        zero2(scratch)
        zero3(scratch)
        zero4(scratch)
        zero5(scratch)
        zero6(scratch)
        zero7(scratch)
        for _ in range(tile_begin, tile_end):
            for _ in range(iterations):
                first(scratch)
                second(scratch)
                third(scratch)
                fourth(scratch)
        release(scratch)

    return run


# Also the memory that tile loops keep their configuration in; on a cache line.
SCRATCH = max(64 * SUMS, TILE_MEMORY)
# By the operand of the products that they bound.
PEAKS = {
    "f32": PeakRow(_loop("f32", F32, _multiply_add), SUMS * 16 * 2),
    "u8": PeakRow(_loop("int8", I32, _quads), SUMS * 64 * 2),
    **({"bf16": PeakRow(_loop("bf16", F32, _pairs), SUMS * 32 * 2)} if HAS_PAIRS else {}),
}

# A product of tiles: 16 rows by 16 lanes by 64 bytes, or by 32 words.
_TILE_UNITS = {"u8": ("tile_int8", tile_unit("u8s8"), 64), "bf16": ("tile_bf16", tile_unit("bf16"), 32)}
# Only where the level has the instructions.
TILE_PEAKS = {
    operand: PeakRow(_tile_loop(name, unit), 4 * 16 * 16 * k * 2)
    for operand, (name, unit, k) in _TILE_UNITS.items()
    if not unit.emulated
}
