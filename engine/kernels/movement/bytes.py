"""u8 quads of 64-lane panels to rows of bytes in pair order, as the unstructured int8 kernels read them.

    quads    [panel][k / 4][lane 0..63][4 k's]
    bytes    [panel][k][64]        byte 16 g + 2 w + b + 8 h of a row is lane 16 (2 h + b) + 4 g + w

A tile is some rows of quads of one panel.
"""

from __future__ import annotations

import numpy as np

from engine.jit import kernel, record
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.bytes import quads_to_rows

BYTES = np.dtype(
    [(name, np.int64) for name in ("x", "x_panel", "y", "y_panel", "quads", "tiles_of_panel")], align=True
)
bytes_of = record(BYTES)
TILE_QUADS = 32
QUAD_BYTES, ROW_BYTES = 256, 64


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
