"""u8 quads to an f32 panel, (x - zero_point) * scale: sixteen lanes a tile."""

from __future__ import annotations

import numpy as np

from engine.jit import kernel, record
from engine.kernels.simd.arithmetic import splat_f32, splat_i32, to_float
from engine.kernels.simd.memory import load_i32, store_f32

DEQUANTIZE = np.dtype(
    [
        *((name, np.int64) for name in ("x", "x_panel", "y", "y_panel", "k", "row_bytes", "zero_point")),
        ("scale", np.float32),
    ],
    align=True,
)
dequantize_of = record(DEQUANTIZE)


@kernel("dequantize_u8", "1x16")
def dequantize_quads(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Sixteen lanes a tile."""
    a = dequantize_of(args)
    width = a.row_bytes // 4
    scale, zero_point, byte = splat_f32(a.scale), splat_i32(a.zero_point), splat_i32(255)
    for index in range(tile_begin, tile_end):
        panel = 16 * index // width
        lane = 4 * (16 * index - panel * width)
        x, y = a.x + panel * a.x_panel + lane, a.y + panel * a.y_panel + lane
        for row in range(a.k):
            quad = load_i32(x + row // 4 * a.row_bytes)
            value = ((quad >> splat_i32(8 * (row % 4))) & byte) - zero_point
            store_f32(to_float(value) * scale, y + row * a.row_bytes)
