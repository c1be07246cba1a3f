"""Rearranging bytes in registers: interleaving words, and quads into rows of bytes or words.

What is unpacked stays inside groups of sixteen bytes, where the machine's unpack instructions work.
"""

from __future__ import annotations

from typing import Any

from engine.jit import I32, instruction, ir
from engine.kernels.simd.memory import load_vector

_I32 = I32.llvm_type
_INDEX = ir.IntType(32)


def _unpack(builder: ir.IRBuilder, a: Any, b: Any, bits: int, *, high: bool) -> Any:
    """vpunpck{l,h}: elements of `bits` bits of a and b alternate, from the low or high half of every group."""
    count = 512 // bits
    kind = ir.VectorType(ir.IntType(bits), count)
    group, half = 128 // bits, 64 // bits
    index = []
    for start in range(0, count, group):
        for i in range(half):
            at = start + i + (half if high else 0)
            index += [at, count + at]
    mask = ir.Constant(ir.VectorType(_INDEX, count), index)
    return builder.bitcast(
        builder.shuffle_vector(builder.bitcast(a, kind), builder.bitcast(b, kind), mask), _I32
    )


def _both(builder: ir.IRBuilder, a: Any, b: Any, bits: int) -> tuple[Any, Any]:
    return _unpack(builder, a, b, bits, high=False), _unpack(builder, a, b, bits, high=True)


def _bytes_of_two(builder: ir.IRBuilder, a: Any, b: Any) -> tuple[Any, Any]:
    """Vectors of quads a and b -> words (a's byte, b's byte) of k 0 and 1, and of k 2 and 3, eight bytes each."""
    low, high = _both(builder, a, b, 8)
    even, odd = _both(builder, low, high, 16)
    return _both(builder, even, odd, 16)


def _quads_to_rows(builder: ir.IRBuilder, source: Any, target: Any, row_bytes: Any) -> None:
    long = ir.IntType(64)
    quads = [load_vector(builder, builder.add(source, ir.Constant(long, 64 * v)), _I32) for v in range(4)]
    first = _bytes_of_two(builder, quads[0], quads[1])
    second = _bytes_of_two(builder, quads[2], quads[3])
    rows = [row for a, b in zip(first, second, strict=True) for row in _both(builder, a, b, 64)]
    for i, row in enumerate(rows):
        at = builder.add(target, builder.mul(row_bytes, ir.Constant(long, i)))
        builder.store(row, builder.inttoptr(at, _I32.as_pointer()), align=4)


def _interleave_half(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    kind = ir.VectorType(ir.IntType(16), 16)
    first, second = load_vector(builder, a, kind), load_vector(builder, b, kind)
    index = [place for i in range(16) for place in (i, 16 + i)]
    mask = ir.Constant(ir.VectorType(_INDEX, 32), index)
    return builder.bitcast(builder.shuffle_vector(first, second, mask), _I32)


def _words_of(builder: ir.IRBuilder, quads: Any, k: int) -> Any:
    """Byte k of each of sixteen lanes, as words."""
    shifted = builder.lshr(quads, ir.Constant(_I32, [8 * k] * 16))
    return builder.trunc(
        builder.and_(shifted, ir.Constant(_I32, [255] * 16)), ir.VectorType(ir.IntType(16), 16)
    )


def _store_row(builder: ir.IRBuilder, row: Any, target: Any, offset: int) -> None:
    place = builder.add(target, ir.Constant(ir.IntType(64), offset))
    builder.store(row, builder.inttoptr(place, row.type.as_pointer()), align=4)


def _quads_to_words_16(builder: ir.IRBuilder, source: Any, target: Any) -> None:
    quads = load_vector(builder, source, _I32)
    for k in range(4):
        _store_row(builder, _words_of(builder, quads, k), target, 32 * k)


def _quads_to_words_32(builder: ir.IRBuilder, source: Any, target: Any) -> None:
    first = load_vector(builder, source, _I32)
    second = load_vector(builder, builder.add(source, ir.Constant(ir.IntType(64), 64)), _I32)
    index = [place for g in range(0, 16, 4) for half in (0, 16) for place in range(half + g, half + g + 4)]
    mask = ir.Constant(ir.VectorType(_INDEX, 32), index)
    for k in range(4):
        row = builder.shuffle_vector(_words_of(builder, first, k), _words_of(builder, second, k), mask)
        _store_row(builder, row, target, 64 * k)


def _store_low_bytes(builder: ir.IRBuilder, value: Any, address: Any) -> None:
    kind = ir.VectorType(ir.IntType(8), 16)
    builder.store(builder.trunc(value, kind), builder.inttoptr(address, kind.as_pointer()), align=1)


interleave_words_low = instruction(I32, (I32, I32), lambda b, x, y: _unpack(b, x, y, 16, high=False))
interleave_words_high = instruction(I32, (I32, I32), lambda b, x, y: _unpack(b, x, y, 16, high=True))
# (source, target, row bytes): 64 lanes of one row of quads to four rows of 64 bytes, lanes in pair order.
quads_to_rows = instruction("void", ("i64", "i64", "i64"), _quads_to_rows)
# (address a, address b): sixteen words of either, alternating.
interleave_half_words = instruction(I32, ("i64", "i64"), _interleave_half)
# (source, target): one row of quads of 16 or 32 lanes to four rows of words; 32 lanes in the order in which
# interleaving low and high words gives lanes 0-15 and 16-31.
quads_to_words_16 = instruction("void", ("i64", "i64"), _quads_to_words_16)
quads_to_words_32 = instruction("void", ("i64", "i64"), _quads_to_words_32)
# (vector, address): the low byte of each of sixteen lanes.
store_low_bytes = instruction("void", (I32, "i64"), _store_low_bytes)
