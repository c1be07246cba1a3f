"""f32 panel to u8 quads, or to whole numbers around the zero point; images in rows to quads: sixteen lanes a tile."""

from __future__ import annotations

import numpy as np

from engine.jit import kernel, record
from engine.kernels.products.epilogue import epilogue_of, quad_of, store_rows
from engine.kernels.simd.arithmetic import least, splat_f32, splat_i32
from engine.kernels.simd.memory import store_i32

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


# Images [image][channel][pixel]; the pixels of one begin at a multiple of `pitch` lanes.
QUANTIZE_IMAGES = np.dtype(
    [(name, np.int64) for name in ("x", "channels", "pixels", "pitch", "epilogue")], align=True
)
images_of = record(QUANTIZE_IMAGES)


@kernel("quantize_images_f32", "4x16")
def store_quads(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """All channels of sixteen pixels a tile, four to a row of quads; whole vectors are read, also at the end of x."""
    a = images_of(args)
    e = epilogue_of(a.epilogue)
    step, zero_point, row = splat_f32(e.step), splat_i32(e.zero_point), 4 * a.pixels
    for index in range(tile_begin, tile_end):
        image = 16 * index // a.pitch
        x = a.x + image * a.channels * row + 4 * (16 * index - image * a.pitch)
        panel = 64 * index // e.row_bytes
        y = e.y + panel * e.y_panel + 64 * index - panel * e.row_bytes
        for channel in range(0, a.channels, 4):
            quads = quad_of(x + channel * row, row, least(4, a.channels - channel), step, zero_point)
            store_i32(quads, y + channel // 4 * e.row_bytes)
