"""f32 panel to planes of bfloat16, the B tiles of products of bfloat16: sixteen lanes a tile.

    [vector][k tile][plane][16 pairs of k][16 lanes][2 k's]     vector: sixteen lanes, counted over all panels

One plane for products in bfloat16, three (hi, mid, lo) for float32 by six products. Rows beyond k are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import Kernel, inner, kernel, record
from engine.kernels.bf16_planes.split import leading_part
from engine.kernels.simd.arithmetic import bits_of, splat_f32, splat_i32
from engine.kernels.simd.memory import load_f32, store_i32
from engine.kernels.simd.tiles import TILE_BYTES

TILE_K = 32
PLANES = np.dtype([(name, np.int64) for name in ("x", "x_panel", "y", "k", "row_bytes")], align=True)
planes_of = record(PLANES)


def vector_bytes(k: int, planes: int) -> int:
    """Bytes of sixteen lanes of k features in planes."""
    return -(-k // TILE_K) * planes * TILE_BYTES


@inner
def _row(x: int, row: int, k: int, row_bytes: int) -> Any:
    return load_f32(x + row * row_bytes) if row < k else splat_f32(np.float32(0))


def _planes_kernel(planes: int) -> Kernel:
    @kernel(f"to_bf16_planes{planes}", "1x16")
    def convert(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = planes_of(args)
        vectors, tiles = a.row_bytes // 64, -(-a.k // TILE_K)
        for index in range(tile_begin, tile_end):
            panel = index // vectors
            x = a.x + panel * a.x_panel + (index - panel * vectors) * 64
            y = a.y + index * tiles * (planes * TILE_BYTES)
            for pair in range(16 * tiles):
                even = _row(x, 2 * pair, a.k, a.row_bytes)
                odd = _row(x, 2 * pair + 1, a.k, a.row_bytes)
                to = y + pair // 16 * (planes * TILE_BYTES) + pair % 16 * 64
                for plane in range(planes):
                    first, second = leading_part(even), leading_part(odd)
                    low = (bits_of(first) >> splat_i32(16)) & splat_i32(65535)
                    store_i32(low | bits_of(second), to + plane * TILE_BYTES)
                    even, odd = even - first, odd - second

    return convert


TO_PLANES = {planes: _planes_kernel(planes) for planes in (1, 3)}
