"""Rotary position embeddings of f32 panels: positions are lanes, so each has its own cosines and sines beside it.

y[r] = x[r] * cos[r] - x[r + half] * sin[r]        y[r + half] = x[r + half] * cos[r + half] + x[r] * sin[r + half]

Where padding has no lanes, a map says which position a lane has; angles lie as all positions do. Padding comes behind
the tokens then, and sequences begin at a whole vector here and there, so that vectors meet whole vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.simd.arithmetic import fused_multiply_add, negative
from engine.kernels.simd.memory import load_f32, read_i64, store_f32

ROTARY = np.dtype(
    [
        *((name, np.int64) for name in ("x", "x_panel", "y", "y_panel", "cos", "sin", "angles_panel")),
        *((name, np.int64) for name in ("row_bytes", "heads", "half")),  # half the features of a head
        ("map", np.int64),  # address of the position of each lane, or 0: angles lie as x does
        *(
            (name, np.int64) for name in ("inner", "pitch")
        ),  # positions of a sequence, its lanes with all of them
    ],
    align=True,
)
rotary_of = record(ROTARY)


@inner
def _turn(x: int, y: int, cos: int, sin: int, half: int) -> None:
    """One vector of a row, and the one `half` bytes on."""
    u, v = load_f32(x), load_f32(x + half)
    store_f32(fused_multiply_add(negative(v), load_f32(sin), u * load_f32(cos)), y)
    store_f32(fused_multiply_add(u, load_f32(sin + half), v * load_f32(cos + half)), y + half)


@inner
def _turn_by_map(a: Any, panel: int, x: int, y: int, half: int) -> None:
    """One head of one panel, each vector by the angles of its first lane's position and of those behind it."""
    width = a.row_bytes // 4
    for vector in range(0, a.row_bytes, 64):
        position = read_i64(a.map + 8 * (panel * width + vector // 4))
        # A lane behind the last token of its sequence names that token by the complement.
        position = position if position >= 0 else ~position
        sequence = position // a.inner
        lane = sequence * a.pitch + position - sequence * a.inner
        angles = lane // width * a.angles_panel + lane % width * 4
        for at in range(0, half, a.row_bytes):
            _turn(x + vector + at, y + vector + at, a.cos + angles + at, a.sin + angles + at, half)


@kernel("rotary_f32")
def rotate(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """One head of one panel a tile."""
    a = rotary_of(args)
    half = a.half * a.row_bytes
    for index in range(tile_begin, tile_end):
        panel = index // a.heads
        first = (index - panel * a.heads) * 2 * half
        x, y, angles = (
            a.x + panel * a.x_panel + first,
            a.y + panel * a.y_panel + first,
            panel * a.angles_panel,
        )
        if a.map != 0:
            _turn_by_map(a, panel, x, y, half)
        else:
            for at in range(0, half, 64):
                _turn(x + at, y + at, a.cos + angles + at, a.sin + angles + at, half)
