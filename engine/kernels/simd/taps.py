"""Sums over four taps of four channels at once: what a window that sees one channel takes, on quads.

    quads of taps 0 .. 3, sixteen pixels        bytes of one channel side by side        sums, by pixel and channel
    x0   p0: c0 c1 c2 c3 | p1: ..               p0: c0 x0..x3 | c1 x0..x3 | ..            p0 c0, p0 c1, p0 c2, p0 c3, p4 ..
    x1   p0: c0 c1 c2 c3 | p1: ..          =>   p1: ..                               =>   p1 ..
    x2, x3                                      p2, p3: .. each a register                p2 .., p3 ..

Unpacking works in groups of sixteen bytes, four pixels, so that register i holds pixels i, 4 + i, 8 + i and 12 + i.
Saturating packs of the four registers put the pixels back in order, as quads.
"""

from __future__ import annotations

from typing import Any

from engine.jit import F32, I32, instruction, ir
from engine.jit.vector import Vector
from engine.kernels.simd.bytes import both_halves
from engine.kernels.simd.dot import dot_product
from engine.kernels.simd.memory import at

_I32 = I32.llvm_type
_FOUR = Vector("four_registers", ir.ArrayType(_I32, 4))


def _all_four(b: ir.IRBuilder, values: list[Any]) -> Any:
    made = ir.Constant(_FOUR.llvm_type, ir.Undefined)
    for i, value in enumerate(values):
        made = b.insert_value(made, value, i)
    return made


def _add_taps(b: ir.IRBuilder, sums: Any, w: Any, *taps: Any) -> Any:
    first, second = both_halves(b, taps[0], taps[1], 8), both_halves(b, taps[2], taps[3], 8)
    pixels = [part for x, y in zip(first, second, strict=True) for part in both_halves(b, x, y, 16)]
    return _all_four(b, [dot_product(b, b.extract_value(sums, i), x, w) for i, x in enumerate(pixels)])


def _load_repeated(b: ir.IRBuilder, address: Any, vector: ir.VectorType) -> Any:
    small = ir.VectorType(vector.element, 4)
    found = b.load(at(b, address, small), align=4)
    index = ir.Constant(ir.VectorType(ir.IntType(32), 16), [i % 4 for i in range(16)])
    return b.shuffle_vector(found, ir.Constant(small, ir.Undefined), index)


# Sixteen bytes, four times: what belongs to four channels.
load_channels_i32 = instruction(I32, ("i64",), lambda b, a: _load_repeated(b, a, _I32))
load_channels_f32 = instruction(F32, ("i64",), lambda b, a: _load_repeated(b, a, F32.llvm_type))
# The same vector in all four registers; one of them (the number is that of the pixel, as above).
four_of = instruction(_FOUR, (I32,), lambda b, x: _all_four(b, [x] * 4))
first_of = instruction(I32, (_FOUR,), lambda b, x: b.extract_value(x, 0))
second_of = instruction(I32, (_FOUR,), lambda b, x: b.extract_value(x, 1))
third_of = instruction(I32, (_FOUR,), lambda b, x: b.extract_value(x, 2))
fourth_of = instruction(I32, (_FOUR,), lambda b, x: b.extract_value(x, 3))
# (sums, weights as quads of four taps for each of four channels, quads of tap 0, 1, 2, 3)
add_taps = instruction(_FOUR, (_FOUR, *[I32] * 5), _add_taps)
