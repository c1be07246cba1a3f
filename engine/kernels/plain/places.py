"""From the number of a tile to addresses: tables of axes, each with its size and its stride in bytes.

table    int64 sizes[axes], then int64 strides[axes] for each operand
"""

from __future__ import annotations

from engine.jit import inner
from engine.kernels.simd.memory import (
    load_i32,
    read_i32,
    read_i64,
    read_u8,
    store_i32,
    write_i32,
    write_i64,
    write_u8,
)

VECTOR_BYTES = 64


@inner
def offset_of(table: int, axes: int, operand: int, index: int) -> int:
    """Bytes from an operand's first element to the one of this index, counted over all axes, the last fastest."""
    offset = 0
    strides = table + 8 * axes * (1 + operand)
    for axis in range(axes - 1, -1, -1):
        size = read_i64(table + 8 * axis)
        offset += index % size * read_i64(strides + 8 * axis)
        index //= size
    return offset


@inner
def copy_item(x: int, y: int, item: int) -> None:
    """One element of 1, 4 or 8 bytes."""
    if item == 4:
        write_i32(read_i32(x), y)
    elif item == 8:
        write_i64(read_i64(x), y)
    else:
        write_u8(read_u8(x), y)


@inner
def copy_bytes(x: int, y: int, count: int, item: int) -> None:
    """`count` bytes that lie together, as elements of `item` bytes."""
    done = 0
    if item >= 4:
        done = count // VECTOR_BYTES * VECTOR_BYTES
        for at in range(0, done, VECTOR_BYTES):
            store_i32(load_i32(x + at), y + at)
    for at in range(done, count, item):
        copy_item(x + at, y + at, item)
