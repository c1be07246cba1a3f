"""Rearranging bytes in registers: interleaving words, and quads into rows of bytes or words.

What is unpacked stays inside groups of sixteen bytes, where the machine's unpack instructions work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from engine.jit import I32, instruction, ir
from engine.kernels.simd.memory import load_vector

_I32 = I32.llvm_type
_INDEX = ir.IntType(32)
_BYTE = ir.IntType(8)


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


def both_halves(builder: ir.IRBuilder, a: Any, b: Any, bits: int) -> tuple[Any, Any]:
    """Elements of `bits` bits of a and b alternating: from the low half of every group of sixteen bytes, and the high."""
    return _unpack(builder, a, b, bits, high=False), _unpack(builder, a, b, bits, high=True)


def _bytes_of_two(builder: ir.IRBuilder, a: Any, b: Any) -> tuple[Any, Any]:
    """Vectors of quads a and b -> words (a's byte, b's byte) of k 0 and 1, and of k 2 and 3, eight bytes each."""
    low, high = both_halves(builder, a, b, 8)
    even, odd = both_halves(builder, low, high, 16)
    return both_halves(builder, even, odd, 16)


def _quads_to_rows(builder: ir.IRBuilder, source: Any, target: Any, row_bytes: Any) -> None:
    long = ir.IntType(64)
    quads = [load_vector(builder, builder.add(source, ir.Constant(long, 64 * v)), _I32) for v in range(4)]
    first = _bytes_of_two(builder, quads[0], quads[1])
    second = _bytes_of_two(builder, quads[2], quads[3])
    rows = [row for a, b in zip(first, second, strict=True) for row in both_halves(builder, a, b, 64)]
    for i, row in enumerate(rows):
        at = builder.add(target, builder.mul(row_bytes, ir.Constant(long, i)))
        builder.store(row, builder.inttoptr(at, _I32.as_pointer()), align=4)


def _loaded_side_by_side(builder: ir.IRBuilder, addresses: Sequence[Any]) -> Any:
    """64 bytes: equal parts from two or four addresses."""
    kind = ir.VectorType(_BYTE, 64 // len(addresses))
    parts = [load_vector(builder, address, kind) for address in addresses]
    while len(parts) > 1:
        mask = ir.Constant(
            ir.VectorType(_INDEX, 2 * parts[0].type.count), list(range(2 * parts[0].type.count))
        )
        parts = [builder.shuffle_vector(a, b, mask) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _shuffled(builder: ir.IRBuilder, a: Any, b: Any, index: Iterable[int]) -> Any:
    """Bytes of a (0 to 63) and of b (64 to 127) in this order."""
    kind = ir.VectorType(_BYTE, 64)
    mask = ir.Constant(ir.VectorType(_INDEX, 64), list(index))
    mixed = builder.shuffle_vector(builder.bitcast(a, kind), builder.bitcast(b, kind), mask)
    return builder.bitcast(mixed, _I32)


def _gather_sixteen(builder: ir.IRBuilder, *addresses: Any) -> Any:
    rows = _loaded_side_by_side(builder, addresses)
    return _shuffled(builder, rows, rows, (16 * row + lane for lane in range(16) for row in range(4)))


def _merge_halves(builder: ir.IRBuilder, first: Any, second: Any, lane: int) -> Any:
    index = (32 * row + lane + i for i in range(16) for row in range(4))
    return _shuffled(builder, first, second, index)


def _rows_of_sixteen(builder: ir.IRBuilder, quads: Any) -> Any:
    return _shuffled(builder, quads, quads, (4 * lane + k for k in range(4) for lane in range(16)))


def _quads_to_rows_16(builder: ir.IRBuilder, source: Any, target: Any) -> None:
    rows = _rows_of_sixteen(builder, load_vector(builder, source, _I32))
    builder.store(rows, builder.inttoptr(target, _I32.as_pointer()), align=4)


def _quads_to_rows_32(builder: ir.IRBuilder, source: Any, target: Any) -> None:
    long = ir.IntType(64)
    first, second = (load_vector(builder, builder.add(source, ir.Constant(long, at)), _I32) for at in (0, 64))
    for half in range(2):
        ks = (2 * half, 2 * half + 1)
        rows = _shuffled(builder, first, second, (4 * lane + k for k in ks for lane in range(32)))
        place = builder.add(target, ir.Constant(long, 64 * half))
        builder.store(rows, builder.inttoptr(place, _I32.as_pointer()), align=4)


def _store_low_bytes(builder: ir.IRBuilder, value: Any, address: Any) -> None:
    kind = ir.VectorType(ir.IntType(8), 16)
    builder.store(builder.trunc(value, kind), builder.inttoptr(address, kind.as_pointer()), align=1)


def _largest_bytes(*, signed: bool) -> Any:
    def emit(b: ir.IRBuilder, x: Any, y: Any) -> Any:
        kind = ir.VectorType(_BYTE, 64)
        first, second = b.bitcast(x, kind), b.bitcast(y, kind)
        compare = b.icmp_signed if signed else b.icmp_unsigned
        return b.bitcast(b.select(compare(">", first, second), first, second), _I32)

    return instruction(I32, (I32, I32), emit)


# Of each of 64 pairs of bytes the larger; signed or not.
LARGEST_BYTES = {signed: _largest_bytes(signed=signed) for signed in (False, True)}
largest_bytes = LARGEST_BYTES[False]
interleave_words_low = instruction(I32, (I32, I32), lambda b, x, y: _unpack(b, x, y, 16, high=False))
interleave_words_high = instruction(I32, (I32, I32), lambda b, x, y: _unpack(b, x, y, 16, high=True))
# (source, target, row bytes): 64 lanes of one row of quads to four rows of 64 bytes, lanes in pair order.
quads_to_rows = instruction("void", ("i64", "i64", "i64"), _quads_to_rows)
# (source, target): 16 or 32 lanes of one row of quads to four rows of as many bytes, in the order of lanes.
quads_to_rows_16 = instruction("void", ("i64", "i64"), _quads_to_rows_16)
quads_to_rows_32 = instruction("void", ("i64", "i64"), _quads_to_rows_32)
# Sixteen lanes of quads: the first byte of each lane, then the second ones, the third, the fourth.
rows_of_sixteen = instruction(I32, (I32,), _rows_of_sixteen)
# (four addresses of sixteen bytes): quads, one byte of each.
gather_sixteen = instruction(I32, ("i64",) * 4, _gather_sixteen)
# (two addresses of 32 bytes): both, one after the other.
side_by_side = instruction(
    I32, ("i64",) * 2, lambda b, *addresses: b.bitcast(_loaded_side_by_side(b, addresses), _I32)
)
# (rows a and b, rows c and d, of 32 bytes): quads of lanes 0 to 15, and of lanes 16 to 31.
merge_low = instruction(I32, (I32, I32), lambda b, x, y: _merge_halves(b, x, y, 0))
merge_high = instruction(I32, (I32, I32), lambda b, x, y: _merge_halves(b, x, y, 16))
# (vector, address): the low byte of each of sixteen lanes.
store_low_bytes = instruction("void", (I32, "i64"), _store_low_bytes)
