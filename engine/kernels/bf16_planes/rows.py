"""f32 panel to bfloat16: what products and attention of bfloat16 read.

    pairs    [panel][pair of k][lane][2 k's]                             a panel's row is a pair, as it is a quad of bytes
    planes   [vector][k tile][plane][16 pairs of k][16 lanes][2 k's]     vector: sixteen lanes, counted over all panels
    rows     [two vectors][k][32 lanes]

Pairs for vector registers (`convolution/pairs.py` makes them), planes for tiles and attention: one for bfloat16, three
(hi, mid, lo) for float32 by six products; planes beyond k are zero. Rows are the values of attention.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import Kernel, inner, kernel, record
from engine.kernels.bf16_planes.split import leading_part, pair_of, store_half
from engine.kernels.simd.arithmetic import bits_of, splat_f32, splat_i32
from engine.kernels.simd.memory import load_f32, store_i32
from engine.kernels.simd.tiles import TILE_BYTES

TILE_K = 32
# Of one feature in rows: 32 lanes.
ROW_BYTES = 64
PLANES = np.dtype([(name, np.int64) for name in ("x", "x_panel", "y", "k", "row_bytes")], align=True)
planes_of = record(PLANES)


def vector_bytes(k: int, planes: int) -> int:
    """Bytes of sixteen lanes of k features in planes."""
    return -(-k // TILE_K) * planes * TILE_BYTES


@inner
def vector_place(a: Any, vector: int) -> int:
    """Where pair 0 of a vector of lanes lies, in pairs or in one plane; a pair further is planes_row bytes.

    a   a record with planes, planes_panel and planes_vector, and row_bytes of the f32 panel beside them
    """
    panel = 64 * vector // a.row_bytes
    place: int = a.planes + panel * a.planes_panel + (vector - panel * a.row_bytes // 64) * a.planes_vector
    return place


@inner
def row_place(rows: int, block_bytes: int, vector: int) -> int:
    """Where a vector of lanes begins in rows, whose blocks of two vectors are so large."""
    return rows + vector // 2 * block_bytes + vector % 2 * (ROW_BYTES // 2)


@inner
def _row(x: int, row: int, k: int, row_bytes: int) -> Any:
    return load_f32(x + row * row_bytes) if row < k else splat_f32(np.float32(0))


@inner
def _panel_place(a: Any, vector: int) -> int:
    vectors = a.row_bytes // 64
    panel = vector // vectors
    place: int = a.x + panel * a.x_panel + (vector - panel * vectors) * 64
    return place


@kernel("to_bf16_planes1", "1x16")
def _to_plane(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    a = planes_of(args)
    pairs = (a.k + TILE_K - 1) // TILE_K * 16
    for index in range(tile_begin, tile_end):
        x, y = _panel_place(a, index), a.y + index * pairs * 64
        for pair in range(pairs):
            even = _row(x, 2 * pair, a.k, a.row_bytes)
            odd = _row(x, 2 * pair + 1, a.k, a.row_bytes)
            store_i32(pair_of(even, odd), y + 64 * pair)


@kernel("to_bf16_planes3", "1x16")
def _to_planes(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    a = planes_of(args)
    tiles = (a.k + TILE_K - 1) // TILE_K
    for index in range(tile_begin, tile_end):
        x, y = _panel_place(a, index), a.y + index * tiles * (3 * TILE_BYTES)
        for pair in range(16 * tiles):
            even = _row(x, 2 * pair, a.k, a.row_bytes)
            odd = _row(x, 2 * pair + 1, a.k, a.row_bytes)
            to = y + pair // 16 * (3 * TILE_BYTES) + pair % 16 * 64
            for plane in range(3):
                first, second = leading_part(even), leading_part(odd)
                low = (bits_of(first) >> splat_i32(16)) & splat_i32(65535)
                store_i32(low | bits_of(second), to + plane * TILE_BYTES)
                even, odd = even - first, odd - second


@kernel("to_bf16_rows", "1x16")
def _to_rows(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    a = planes_of(args)
    for index in range(tile_begin, tile_end):
        x, y = _panel_place(a, index), row_place(a.y, a.k * ROW_BYTES, index)
        for row in range(a.k):
            store_half(load_f32(x + row * a.row_bytes), y + row * ROW_BYTES)


# The kernel that makes each form of a panel.
FORMS: dict[str, Kernel] = {"planes1": _to_plane, "planes3": _to_planes, "rows": _to_rows}
