"""Elements from one arrangement to another: transposes, slices, expansions and the parts of a join.

A tile is one index of the leading axes, `count` elements along the last.
"""

from __future__ import annotations

import numpy as np

from engine.jit import kernel, record
from engine.kernels.plain.places import copy_bytes, copy_item, offset_of

COPY = np.dtype(
    [
        (name, np.int64)
        for name in ("x", "y", "item", "count", "x_stride", "y_stride", "axes", "places")  # strides in bytes
    ],
    align=True,
)
copy_of = record(COPY)


@kernel("copy_rows")
def copy_rows(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Operand 0 of the table of places is read, operand 1 written."""
    a = copy_of(args)
    together = a.x_stride == a.item and a.y_stride == a.item
    for index in range(tile_begin, tile_end):
        x = a.x + offset_of(a.places, a.axes, 0, index)
        y = a.y + offset_of(a.places, a.axes, 1, index)
        if together:
            copy_bytes(x, y, a.count * a.item, a.item)
        else:
            for i in range(a.count):
                copy_item(x + i * a.x_stride, y + i * a.y_stride, a.item)
