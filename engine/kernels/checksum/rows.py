"""A checksum that sees every changed word: 128 sums side by side, each a polynomial in an odd number.

    block of 512 bytes     vector 0   vector 1 ... vector 7            sum[v] = (sum[v] + block[v]) * odd
                           16 words   16 words     16 words

Multiplying by an odd number modulo 2**32 loses nothing, so one changed word always changes its sum;
several in one sum cancel with a chance of 2**-32. It guards against accidents, not against forgery.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.jit import I32, instruction, ir, kernel, record
from engine.jit.vector import Vector
from engine.kernels.simd.memory import at, load_vector

CHECKSUM = np.dtype([("source", np.int64), ("sums", np.int64)], align=True)
checksum_of = record(CHECKSUM)
VECTORS = 8
BLOCK = 64 * VECTORS
# Knuth's multiplicative constant: odd, its bits well spread.
_ODD = 2654435761
_SUMS = Vector("checksums", ir.ArrayType(I32.llvm_type, VECTORS))


def _load(builder: ir.IRBuilder, address: Any) -> Any:
    value = ir.Constant(_SUMS.llvm_type, ir.Undefined)
    for i in range(VECTORS):
        place = builder.add(address, ir.Constant(ir.IntType(64), 64 * i))
        value = builder.insert_value(value, load_vector(builder, place, I32.llvm_type), i)
    return value


def _save(builder: ir.IRBuilder, value: Any, address: Any) -> None:
    for i in range(VECTORS):
        place = builder.add(address, ir.Constant(ir.IntType(64), 64 * i))
        builder.store(builder.extract_value(value, i), at(builder, place, I32.llvm_type), align=4)


def _step(builder: ir.IRBuilder, value: Any, address: Any) -> Any:
    block, odd = _load(builder, address), ir.Constant(I32.llvm_type, [_ODD] * 16)
    for i in range(VECTORS):
        total = builder.add(builder.extract_value(value, i), builder.extract_value(block, i))
        value = builder.insert_value(value, builder.mul(total, odd), i)
    return value


load, save, step = (
    instruction(_SUMS, ("i64",), _load),
    instruction("void", (_SUMS, "i64"), _save),
    instruction(_SUMS, (_SUMS, "i64"), _step),
)


@kernel("checksum", "8x64")
def add_blocks(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is one block."""
    a = checksum_of(args)
    sums, source = load(a.sums), a.source
    for block in range(tile_begin, tile_end):
        sums = step(sums, source + block * BLOCK)
    save(sums, a.sums)


def checksum(array: NDArray[np.uint8]) -> bytes:
    """512 bytes for a contiguous array of whole blocks of 512 bytes; the GIL is not held meanwhile."""
    sums = np.arange(1, BLOCK // 4 + 1, dtype=np.uint32)
    args = np.zeros(1, CHECKSUM)
    args["source"], args["sums"] = array.ctypes.data, sums.ctypes.data
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(add_blocks.address)
    function(args.ctypes.data, 0, array.size // BLOCK, 0)
    return sums.tobytes()
