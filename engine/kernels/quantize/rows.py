"""f32 panel to u8 quads, or to whole numbers around the zero point: sixteen lanes a tile."""

from __future__ import annotations

import numpy as np

from engine.jit import kernel, record
from engine.kernels.products.epilogue import epilogue_of, store_rows

# The form is the epilogue's.
QUANTIZE = np.dtype([("x", np.int64), ("x_panel", np.int64), ("epilogue", np.int64)], align=True)
quantize_of = record(QUANTIZE)


@kernel("quantize_f32", "1x16")
def store_panel(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Store sixteen lanes a tile in the epilogue's form."""
    a = quantize_of(args)
    e = epilogue_of(a.epilogue)
    vectors = e.row_bytes // 64
    for index in range(tile_begin, tile_end):
        panel = index // vectors
        lane = (index - panel * vectors) * 64
        x, y = a.x + panel * a.x_panel + lane, e.y + panel * e.y_panel + lane
        store_rows(e, x, e.row_bytes, 0, e.m, y, 64)
