"""A checksum against accidents, and a keyed hash against design; both at the speed of memory.

The checksum sees every changed word: 128 sums side by side, each a polynomial in an odd number.

    block of 512 bytes     vector 0   vector 1 ... vector 7            sum[v] = (sum[v] + block[v]) * odd
                           16 words   16 words     16 words

Multiplying by an odd number modulo 2**32 loses nothing, so one changed word always changes its sum;
several in one sum cancel with a chance of 2**-32.

The hash shrinks blocks of 16 KiB to 256 bytes: in each of eight 64-bit lanes the sum of (a + p)(b + q) over the
lane's pairs of words a, b, with words p, q of a secret key; four times, the key moved on by one vector each time.
Two blocks, whatever they are, agree with a chance of at most 2**-128 over the key.
Source: Black et al. 1999, "UMAC: Fast and Secure Message Authentication" (NH, and its Toeplitz form).
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


HASH = np.dtype([("source", np.int64), ("key", np.int64), ("sums", np.int64)], align=True)
hash_of = record(HASH)
_WIDE = ir.VectorType(ir.IntType(64), 8)
_PASSES, HASH_VECTORS = 4, 256
HASH_BLOCK, HASH_BYTES = 64 * HASH_VECTORS, 64 * _PASSES
KEY_BYTES = 64 * (HASH_VECTORS + _PASSES - 1)
_PRODUCTS = Vector("hash_products", ir.ArrayType(_WIDE, _PASSES))


def _multiply(builder: ir.IRBuilder, value: Any, source: Any, key: Any) -> Any:
    words = load_vector(builder, source, I32.llvm_type)
    low, high = (ir.Constant(_WIDE, [bits] * 8) for bits in (2**32 - 1, 32))
    for i in range(_PASSES):
        place = builder.add(key, ir.Constant(ir.IntType(64), 64 * i))
        pairs = builder.bitcast(builder.add(words, load_vector(builder, place, I32.llvm_type)), _WIDE)
        product = builder.mul(builder.and_(pairs, low), builder.lshr(pairs, high))
        value = builder.insert_value(value, builder.add(builder.extract_value(value, i), product), i)
    return value


def _save_products(builder: ir.IRBuilder, value: Any, address: Any) -> None:
    for i in range(_PASSES):
        place = builder.add(address, ir.Constant(ir.IntType(64), 64 * i))
        builder.store(builder.extract_value(value, i), at(builder, place, _WIDE), align=8)


no_products, multiply_words, save_products = (
    instruction(_PRODUCTS, (), lambda _builder: ir.Constant(_PRODUCTS.llvm_type, None)),
    instruction(_PRODUCTS, (_PRODUCTS, "i64", "i64"), _multiply),
    instruction("void", (_PRODUCTS, "i64"), _save_products),
)


@kernel("hash", "4x64")
def hash_blocks(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is one block of 16 KiB."""
    a = hash_of(args)
    for block in range(tile_begin, tile_end):
        source, key, products = a.source + block * HASH_BLOCK, a.key, no_products()
        for _ in range(HASH_VECTORS):
            products = multiply_words(products, source, key)
            source += 64
            key += 64
        save_products(products, a.sums + block * HASH_BYTES)


def shrink(array: NDArray[np.uint8], key: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """256 bytes for every whole block of 16 KiB of a contiguous array; the GIL is not held meanwhile.

    key   KEY_BYTES secret bytes
    """
    blocks = array.size // HASH_BLOCK
    sums = np.zeros(blocks * HASH_BYTES, np.uint8)
    args = np.zeros(1, HASH)
    args["source"], args["key"], args["sums"] = array.ctypes.data, key.ctypes.data, sums.ctypes.data
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(hash_blocks.address)
    function(args.ctypes.data, 0, blocks, 0)
    return sums
