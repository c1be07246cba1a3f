"""Elements chosen by indices that are known at run time.

    gather_slices     y[outer][choice][bytes] = x[outer][i0][i1]...[bytes], a choice is `depth` indices
    gather_elements   y[...] = x[...] with the coordinate of one axis replaced by an index

Indices may count from the end; one out of range reads place 0 and sets the fault word.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.plain.places import copy_bytes, copy_item, offset_of
from engine.kernels.simd.memory import read_i32, read_i64, write_i64

SLICES = np.dtype(
    [
        *((name, np.int64) for name in ("x", "x_outer", "y", "item", "bytes", "choices")),
        *((name, np.int64) for name in ("ids", "ids_outer", "id_bytes", "depth")),
        ("places", np.int64),  # sizes and strides of the axes that are indexed
        ("fault", np.int64),  # address of a word: set to 1 + the number of the bad choice
    ],
    align=True,
)
slices_of = record(SLICES)

ELEMENTS = np.dtype(
    [
        *((name, np.int64) for name in ("x", "y", "item", "count", "ids", "id_bytes")),
        *((name, np.int64) for name in ("axes", "places")),  # of y: strides of x, 0 along the indexed axis
        *((name, np.int64) for name in ("last_stride", "chosen_size", "chosen_stride", "fault")),
    ],
    align=True,
)
elements_of = record(ELEMENTS)


@inner
def _index(at: int, id_bytes: int, size: int, fault: int, number: int) -> Any:
    index = read_i64(at) if id_bytes == 8 else read_i32(at)
    if index < 0:
        index += size
    if index < 0 or index >= size:
        write_i64(1 + number, fault)
        index = 0
    return index


@kernel("gather_slices")
def gather_slices(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is one choice of one outer index."""
    a = slices_of(args)
    for number in range(tile_begin, tile_end):
        outer = number // a.choices
        choice = number - outer * a.choices
        x = a.x + outer * a.x_outer
        ids = a.ids + outer * a.ids_outer + choice * a.depth * a.id_bytes
        for axis in range(a.depth):
            size = read_i64(a.places + 8 * axis)
            index = _index(ids + axis * a.id_bytes, a.id_bytes, size, a.fault, number)
            x += index * read_i64(a.places + 8 * (a.depth + axis))
        copy_bytes(x, a.y + number * a.bytes, a.bytes, a.item)


@kernel("gather_elements")
def gather_elements(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is one index of y's leading axes."""
    a = elements_of(args)
    for line in range(tile_begin, tile_end):
        x = a.x + offset_of(a.places, a.axes, 0, line)
        first = line * a.count
        for i in range(a.count):
            number = first + i
            index = _index(a.ids + number * a.id_bytes, a.id_bytes, a.chosen_size, a.fault, number)
            source = x + i * a.last_stride + index * a.chosen_stride
            copy_item(source, a.y + number * a.item, a.item)
