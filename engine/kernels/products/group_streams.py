"""Counting and laying out the nonzeros of sparse weights, compiled: what NumPy would need a sort of all of them for.

    counts    int32 [row][block]: nonzero values of a row in a block of k
    groups    int64 [group][5]: place of the first entry, row i, row j (ABSENT: none), length, block

A value is written wherever the row stands and the row moves on only past a nonzero one: no branch depends on the
weights, whose zeros come at random. So one entry beyond the last may be written; the stream has room for it, and
elsewhere the padding, or the next group, is written over it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from engine.jit import Kernel, inner, kernel, record
from engine.kernels.row import Array
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import read_i32, read_i64, read_s8, write_i32, write_u8

ABSENT = -1
GROUP_FIELDS = 5
# Bits that tell a nonzero: a float32 of -0 is zero, a quad of bytes is so only if all of them are.
FLOAT_BITS, QUAD_BITS = 0x7FFFFFFF, 0xFFFFFFFF

STREAM = np.dtype(
    [
        (name, np.int64)
        for name in ("w", "row_bytes", "k", "block", "blocks", "mask", "counts", "groups", "entries")
    ],
    align=True,
)
stream_of = record(STREAM)


@kernel("count_words")
def count_words(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Nonzero 32-bit values of every row and block; a tile is a row."""
    a = stream_of(args)
    for row in range(tile_begin, tile_end):
        for block in range(a.blocks):
            first = block * a.block
            at, count = a.w + row * a.row_bytes + 4 * first, 0
            for _ in range(least(a.block, a.k - first)):
                count += (read_i32(at) & a.mask) != 0
                at += 4
            write_i32(count, a.counts + 4 * (row * a.blocks + block))


@kernel("count_bytes")
def count_bytes(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Nonzero bytes of every row and block; a tile is a row."""
    a = stream_of(args)
    for row in range(tile_begin, tile_end):
        for block in range(a.blocks):
            first = block * a.block
            at, count = a.w + row * a.row_bytes + first, 0
            for _ in range(least(a.block, a.k - first)):
                count += read_s8(at) != 0
                at += 1
            write_i32(count, a.counts + 4 * (row * a.blocks + block))


@inner
def _lay_words(a: Any, row: int, first: int, entry: int, end: int) -> None:
    """One row's values of one block, 8 bytes each, every other entry; the padding up to `end` after them."""
    if row != ABSENT:
        at = a.w + row * a.row_bytes + 4 * first
        for k in range(first, first + least(a.block, a.k - first)):
            value = read_i32(at)
            write_i32(value, entry)
            write_i32(k, entry + 4)
            entry += 16 * ((value & a.mask) != 0)
            at += 4
    while entry < end:
        write_i32(0, entry)
        write_i32(first, entry + 4)
        entry += 16


@kernel("lay_words")
def lay_words(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Entries of 32-bit values and their k; a tile is a group, and all of them come in order."""
    a = stream_of(args)
    for index in range(tile_begin, tile_end):
        group = a.groups + 8 * GROUP_FIELDS * index
        entry, first = a.entries + 8 * read_i64(group), read_i64(group + 32) * a.block
        end = entry + 16 * read_i64(group + 24)
        _lay_words(a, read_i64(group + 8), first, entry, end)
        _lay_words(a, read_i64(group + 16), first, entry + 8, end)


@inner
def _lay_pairs(a: Any, row: int, first: int, weights: int, places: int) -> None:
    """One row's nonzero bytes of one block, two a word, every other word."""
    if row == ABSENT:
        return
    at, second = a.w + row * a.row_bytes + first, 0
    for k in range(least(a.block, a.k - first)):
        value = read_s8(at + k)
        if value != 0:
            write_u8(value, weights + 1 + 2 * second)
            write_u8(k, places + 2 * second)
            write_u8(k >> 8, places + 2 * second + 1)
            weights += 8 * second
            places += 8 * second
            second = 1 - second


@kernel("lay_pairs")
def lay_pairs(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Words of pairs, a zero, words of their k's (sparse_int8/pack.py); a tile is a group; entries begin as zeros."""
    a = stream_of(args)
    for index in range(tile_begin, tile_end):
        group = a.groups + 8 * GROUP_FIELDS * index
        weights, first = a.entries + 4 * read_i64(group), read_i64(group + 32) * a.block
        places = weights + 8 * read_i64(group + 24) + 4
        _lay_pairs(a, read_i64(group + 8), first, weights, places)
        _lay_pairs(a, read_i64(group + 16), first, weights + 4, places + 4)


@inner
def _lay_fours(a: Any, row: int, first: int, weights: int, offsets: int) -> None:
    """One row's nonzero bytes of one block, four to an entry."""
    if row == ABSENT:
        return
    at, place = a.w + row * a.row_bytes + first, 0
    for k in range(least(a.block, a.k - first)):
        value = read_s8(at + k)
        if value != 0:
            offset = offsets + 2 * place
            write_u8(value, weights + place)
            write_u8(k << 4, offset)
            write_u8(k >> 4, offset + 1)
            place += 1
            if place == 4:
                weights += 24
                offsets += 24
                place = 0


@kernel("lay_fours")
def lay_fours(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Entries of four weights a row (sparse4_int8/pack.py); a tile is a group; entries begin as zeros."""
    a = stream_of(args)
    for index in range(tile_begin, tile_end):
        group = a.groups + 8 * GROUP_FIELDS * index
        entry, first = a.entries + 24 * read_i64(group), read_i64(group + 32) * a.block
        _lay_fours(a, read_i64(group + 8), first, entry, entry + 8)
        _lay_fours(a, read_i64(group + 16), first, entry + 4, entry + 16)


def run(code: Kernel, tiles: int, w: Array, **fields: int) -> None:
    """Call one of the kernels above on contiguous w[m, values]; the GIL is not held meanwhile."""
    args = np.zeros(1, STREAM)
    args["w"], args["row_bytes"], args["k"] = w.ctypes.data, w.strides[0], w.shape[1]
    for name, value in fields.items():
        args[name] = value
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(code.address)
    function(args.ctypes.data, 0, tiles, 0)
