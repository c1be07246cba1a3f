"""Four rows of whole numbers to quads of bytes, by the machine's saturating packs: AVX-512 alone.

    a   a0 a1 a2 a3 ..         a0 b0 c0 d0 | a1 b1 c1 d1 | ..        sixteen lanes, a byte of each row
    b   b0 b1 b2 b3 ..    =>
    c, d

A pack works in groups of four lanes: int32 a0 .. a3, b0 .. b3 become int16 side by side, those of c and d too, and both
become bytes; a shuffle inside the group ends it. Rows of bytes (see movement/bytes.py) come out of the same packs: of four
vectors of one row, or of four rows, by another shuffle.
"""

from __future__ import annotations

from typing import Any

from engine.jit import F32, I32, active_level, instruction, ir
from engine.jit.instruction import call

_I32 = I32.llvm_type
_WORDS = ir.VectorType(ir.IntType(16), 32)
_BYTES = ir.VectorType(ir.IntType(8), 64)

# Whether the instructions below are there.
HAS_NARROWING = active_level().width == 64


def _nearest(b: ir.IRBuilder, x: Any) -> Any:
    nothing, all_lanes = ir.Constant(_I32, [0] * 16), ir.Constant(ir.IntType(16), -1)
    as_set = ir.Constant(ir.IntType(32), 4)
    return call(b, "llvm.x86.avx512.mask.cvtps2dq.512", _I32, [x, nothing, all_lanes, as_set])


def _within(b: ir.IRBuilder, x: Any, bounds: Any, sign: str) -> Any:
    other = b.bitcast(bounds, _BYTES)
    return b.select(b.icmp_unsigned(sign, x, other), x, other)


def _narrow(b: ir.IRBuilder, *operands: Any) -> Any:
    rows, (zero_points, least, most) = operands[:4], operands[4:]
    pairs = []
    for first, second in (rows[:2], rows[2:]):
        words = call(b, "llvm.x86.avx512.packssdw.512", _WORDS, [first, second])
        pairs.append(call(b, "llvm.sadd.sat.v32i16", _WORDS, [words, b.bitcast(zero_points, _WORDS)]))
    narrow = call(b, "llvm.x86.avx512.packuswb.512", _BYTES, pairs)
    return _within(b, _within(b, narrow, least, ">"), most, "<")


def _quads(b: ir.IRBuilder, *operands: Any) -> Any:
    return _quads_of_groups(b, _narrow(b, *operands))


def _quads_of_groups(b: ir.IRBuilder, narrow: Any) -> Any:
    index = [16 * group + 4 * row + lane for group in range(4) for lane in range(4) for row in range(4)]
    return _shuffled(b, narrow, narrow, index)


def _shuffled(b: ir.IRBuilder, first: Any, second: Any, index: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), 64), index)
    return b.bitcast(b.shuffle_vector(b.bitcast(first, _BYTES), b.bitcast(second, _BYTES), mask), _I32)


def _row_of_lanes(b: ir.IRBuilder, *operands: Any) -> Any:
    narrow = _narrow(b, *operands)
    # Byte 2 w + odd of half h of a group: lane w of the group in vector 2 h + odd.
    order = [4 * (2 * half + odd) + w for half in range(2) for w in range(4) for odd in range(2)]
    return _shuffled(b, narrow, narrow, [16 * group + place for group in range(4) for place in order])


def _rows_of_groups(b: ir.IRBuilder, narrow: Any) -> Any:
    return _shuffled(
        b, narrow, narrow, [16 * (lane // 4) + 4 * row + lane % 4 for row in range(4) for lane in range(16)]
    )


def _two_rows(b: ir.IRBuilder, first: Any, second: Any, row: int) -> Any:
    places = [(row + r, lane) for r in range(2) for lane in range(32)]
    index = [64 * (lane // 16) + 16 * (lane % 16 // 4) + 4 * r + lane % 4 for r, lane in places]
    return _shuffled(b, first, second, index)


def _byte(b: ir.IRBuilder, quads: Any, row: int) -> Any:
    if row == 3:
        return b.lshr(quads, ir.Constant(_I32, [24] * 16))
    return b.and_(b.lshr(quads, ir.Constant(_I32, [8 * row] * 16)), ir.Constant(_I32, [255] * 16))


# The whole number next to each of x, half to even, where an int32 can hold it.
nearest = instruction(I32, (F32,), _nearest)
# (rows a, b, c, d; zero point as int16; least and most as bytes): a + zero point .. within 0 to 255, then
# no less than `least`, then no more than `most`.
quads_of_rows = instruction(I32, (I32,) * 7, _quads)
# (vectors 0 to 3 of a row, and the same bounds): the row's 64 bytes in pair order.
row_of_lanes = instruction(I32, (I32,) * 7, _row_of_lanes)
# Four rows of sixteen lanes that `quads_of_pixels` made bytes of: as quads, or row after row.
quads_of_groups = instruction(I32, (I32,), _quads_of_groups)
rows_of_groups = instruction(I32, (I32,), _rows_of_groups)
# (the same of lanes 0 to 15, of lanes 16 to 31): rows a and b of 32 lanes, and rows c and d.
first_two_rows = instruction(I32, (I32, I32), lambda b, x, y: _two_rows(b, x, y, 0))
last_two_rows = instruction(I32, (I32, I32), lambda b, x, y: _two_rows(b, x, y, 2))
# The same of sums by pixel and channel (see taps.py), where groups of four lanes are four channels of a pixel.
quads_of_pixels = instruction(I32, (I32,) * 7, lambda b, *operands: b.bitcast(_narrow(b, *operands), _I32))
# Byte 0, 1, 2 and 3 of every quad.
first_byte = instruction(I32, (I32,), lambda b, x: _byte(b, x, 0))
second_byte = instruction(I32, (I32,), lambda b, x: _byte(b, x, 1))
third_byte = instruction(I32, (I32,), lambda b, x: _byte(b, x, 2))
fourth_byte = instruction(I32, (I32,), lambda b, x: _byte(b, x, 3))
