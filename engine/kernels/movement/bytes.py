"""u8 quads to rows of bytes.

    quads          [panel][k / 4][lane][4 k's]
    bytes          [panel][k][64]       pair order, as the unstructured int8 kernels read them, of 64-lane panels:
                                        byte 16 g + 2 w + b + 8 h of a row is lane 16 (2 h + b) + 4 g + w
                                        and as they lie, of 16- and 32-lane panels ([k][width])
    signed rows    [panel][k][lane]     s8, the value less 128, as attention reads its values
    lane rows      [lane][k to 64]      u8, as attention on tiles reads its keys

A tile is some rows of quads of one panel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.jit import Kernel, kernel, record
from engine.kernels.simd.arithmetic import least, splat_i32
from engine.kernels.simd.bytes import quads_to_rows, quads_to_rows_16, quads_to_rows_32, store_low_bytes
from engine.kernels.simd.memory import load_i32
from engine.kernels.simd.transpose import transpose_sixteen

BYTES = np.dtype(
    [(name, np.int64) for name in ("x", "x_panel", "y", "y_panel", "quads", "tiles_of_panel", "row_bytes")],
    align=True,
)
bytes_of = record(BYTES)
TILE_QUADS = 32
QUAD_BYTES, ROW_BYTES = 256, 64
SIGNS = 0x80808080


@kernel("quads_to_bytes_u8", f"{TILE_QUADS}x64")
def quads_to_bytes(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Rearrange TILE_QUADS rows of quads a tile."""
    a = bytes_of(args)
    for index in range(tile_begin, tile_end):
        panel = index // a.tiles_of_panel
        first = (index - panel * a.tiles_of_panel) * TILE_QUADS
        x, y = a.x + panel * a.x_panel, a.y + panel * a.y_panel
        for quad in range(first, least(first + TILE_QUADS, a.quads)):
            quads_to_rows(x + quad * QUAD_BYTES, y + 4 * quad * ROW_BYTES, ROW_BYTES)


def _narrow_kernel(width: int, rearrange: Callable[..., None]) -> Kernel:
    @kernel("quads_to_bytes_u8", f"{TILE_QUADS}x{width}")
    def quads_to_narrow(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = bytes_of(args)
        for index in range(tile_begin, tile_end):
            panel = index // a.tiles_of_panel
            first = (index - panel * a.tiles_of_panel) * TILE_QUADS
            x, y = a.x + panel * a.x_panel, a.y + panel * a.y_panel
            for quad in range(4 * width * first, 4 * width * least(first + TILE_QUADS, a.quads), 4 * width):
                rearrange(x + quad, y + quad)

    return quads_to_narrow


# What the unstructured int8 kernels read is made by these, by panel width.
TO_BYTES = {
    16: _narrow_kernel(16, quads_to_rows_16),
    32: _narrow_kernel(32, quads_to_rows_32),
    64: quads_to_bytes,
}


@kernel("quads_to_signed_rows", f"{TILE_QUADS}x16")
def quads_to_signed_rows(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Rearrange TILE_QUADS rows of quads a tile, for panels of any width."""
    a = bytes_of(args)
    row_bytes = a.row_bytes // 4
    for index in range(tile_begin, tile_end):
        panel = index // a.tiles_of_panel
        first = (index - panel * a.tiles_of_panel) * TILE_QUADS
        for quad in range(first, least(first + TILE_QUADS, a.quads)):
            x, y = (
                a.x + panel * a.x_panel + quad * a.row_bytes,
                a.y + panel * a.y_panel + 4 * quad * row_bytes,
            )
            for lane in range(0, row_bytes, 16):
                value = load_i32(x + 4 * lane) ^ splat_i32(SIGNS)
                store_low_bytes(value, y + lane)
                store_low_bytes(value >> splat_i32(8), y + row_bytes + lane)
                store_low_bytes(value >> splat_i32(16), y + 2 * row_bytes + lane)
                store_low_bytes(value >> splat_i32(24), y + 3 * row_bytes + lane)


@kernel("quads_to_lane_rows", f"{TILE_QUADS}x16")
def quads_to_lane_rows(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Rearrange TILE_QUADS rows of quads a tile, for panels of any width; what follows the last quad is copied too."""
    a = bytes_of(args)
    width = a.row_bytes // 4
    pitch = a.y_panel // width
    for index in range(tile_begin, tile_end):
        panel = index // a.tiles_of_panel
        first = (index - panel * a.tiles_of_panel) * TILE_QUADS
        for quad in range(first, least(first + TILE_QUADS, a.quads), 16):
            x, y = a.x + panel * a.x_panel + quad * a.row_bytes, a.y + panel * a.y_panel + 4 * quad
            for lane in range(0, width, 16):
                transpose_sixteen(x + 4 * lane, a.row_bytes, y + lane * pitch, pitch)
