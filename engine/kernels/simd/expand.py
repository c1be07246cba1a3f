"""Compressed rows: a mask of 64 bits and the bytes where it is set, spread into 64 bytes with zeros between.

    mask  ..0 1 0 0 1 1 0        (bit j: element j is not zero)
    bytes 7 9 4             ->   0 7 0 0 9 4 0 ..

vpexpandb and vpexpandw (AVX-512 VBMI2) read from memory no more than they need. Elsewhere a plain loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.jit import active_features, inner, instruction, ir
from engine.jit.instruction import call
from engine.kernels.simd.arithmetic import splat_i32
from engine.kernels.simd.memory import at, read_u8, store_i32, write_u8

_LONG = ir.IntType(64)
HAS_EXPAND = "avx512vbmi2" in active_features()
ROWS, ROW_BYTES = 16, 64


def _expand_rows(item_bytes: int) -> Callable[..., Any]:
    """Sixteen rows, unrolled; the mask of a row has 64 / item_bytes bits."""
    count = ROW_BYTES // item_bytes
    row, item = ir.VectorType(ir.IntType(8 * item_bytes), count), ir.IntType(8 * item_bytes)
    bits, mask_kind = ir.IntType(count), ir.VectorType(ir.IntType(1), count)

    def emit(b: ir.IRBuilder, source: Any, masks: Any, target: Any) -> Any:
        for i in range(ROWS):
            place = b.add(masks, ir.Constant(_LONG, i * count // 8))
            mask = b.load(at(b, place, bits), align=count // 8)
            operands = [at(b, source, item), b.bitcast(mask, mask_kind), ir.Constant(row, None)]
            value = call(b, f"llvm.masked.expandload.v{count}i{item.width}", row, operands)
            b.store(value, at(b, b.add(target, ir.Constant(_LONG, ROW_BYTES * i)), row), align=64)
            taken = call(b, f"llvm.ctpop.i{count}", bits, [mask])
            taken = taken if count == 64 else b.zext(taken, _LONG)
            source = b.add(source, b.mul(taken, ir.Constant(_LONG, item_bytes)))
        return source

    return emit


def _expand_plainly(item_bytes: int) -> Callable[..., Any]:
    count = ROW_BYTES // item_bytes

    @inner
    def expand(source: int, masks: int, target: int) -> int:
        for row in range(ROWS):
            store_i32(splat_i32(0), target + row * ROW_BYTES)
            for i in range(count):
                if read_u8(masks + (row * count + i) // 8) >> (i % 8) & 1 != 0:
                    for byte in range(item_bytes):
                        write_u8(read_u8(source + byte), target + row * ROW_BYTES + i * item_bytes + byte)
                    source += item_bytes
        return source

    return expand


def _expansion(item_bytes: int) -> Callable[..., Any]:
    if HAS_EXPAND:
        return instruction("i64", ("i64",) * 3, _expand_rows(item_bytes))
    return _expand_plainly(item_bytes)


# (source, masks, target) -> the source after them: sixteen rows of 64 bytes, or of 32 words; target on a cache line.
expand_bytes = _expansion(1)
expand_words = _expansion(2)
