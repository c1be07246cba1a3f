"""Softmax over the features of an f32 panel: down the rows, sixteen lanes a tile."""

from __future__ import annotations

import numpy as np

from engine.jit import kernel, record
from engine.kernels.simd.arithmetic import maximum, splat_f32
from engine.kernels.simd.mathematics import decay
from engine.kernels.simd.memory import load_f32, store_f32

SOFTMAX = np.dtype(
    [(name, np.int64) for name in ("x", "x_panel", "y", "y_panel", "k", "row_bytes")],
    align=True,
)
softmax_of = record(SOFTMAX)


@kernel("softmax_f32", "1x16")
def softmax(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Softmax of sixteen lanes a tile."""
    a = softmax_of(args)
    row_bytes, vectors = a.row_bytes, a.row_bytes // 64
    for index in range(tile_begin, tile_end):
        panel = index // vectors
        lane = (index - panel * vectors) * 64
        x, y = a.x + panel * a.x_panel + lane, a.y + panel * a.y_panel + lane
        greatest = load_f32(x)
        for row in range(1, a.k):
            greatest = maximum(greatest, load_f32(x + row * row_bytes))
        total = splat_f32(np.float32(0))
        for row in range(a.k):
            e = decay(load_f32(x + row * row_bytes) - greatest)
            store_f32(e, y + row * row_bytes)
            total = total + e
        for row in range(a.k):
            store_f32(load_f32(y + row * row_bytes) / total, y + row * row_bytes)
