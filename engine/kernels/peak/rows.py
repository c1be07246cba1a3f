"""Register loops: multiply-adds of float32 and products of quads, nothing loaded, nothing stored.

    sum[i] = sum[i] * w + x            float32
    sum[i] = sum[i] + quads(sum[i], w)  int8

Every sum begins with another value and is an operand of its own next step, so that no two can be merged
and nothing leaves the loop. Sums in flight hide the latency of two instructions a cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.jit import I32, Kernel, active_level, instruction, ir, kernel, record
from engine.jit.instruction import call
from engine.jit.vector import F32, Vector
from engine.kernels.simd.dot import dot_product
from engine.kernels.simd.memory import at, load_vector

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
    return call(builder, "llvm.fma.v16f32", value.type, [value, operand, operand])


def _quads(builder: ir.IRBuilder, value: Any, operand: Any) -> Any:
    return dot_product(builder, value, value, operand)


SCRATCH = 64 * SUMS
# By the operand of the products that they bound.
PEAKS = {
    "f32": PeakRow(_loop("f32", F32, _multiply_add), SUMS * 16 * 2),
    "u8": PeakRow(_loop("int8", I32, _quads), SUMS * 64 * 2),
}
