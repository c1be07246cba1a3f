"""Layer and root mean square normalisation down the rows of an f32 panel.

    mean = sum_k x / k      variance = sum_k (x - mean)**2 / k      y = (x - mean) / sqrt(variance + epsilon) * gain + bias

With `keeps_mean` the mean counts as 0, and the variance is the mean of squares. One reading takes both (moments.py), a
second writes an f32 panel, bytes, or both (writers.py, bounded.py). A tile is one, two or four vectors of sixteen lanes,
as many as leave work for all members: rows are then read in whole lines, and gain and bias are broadcast once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.bf16_planes.rows import vector_place
from engine.kernels.norm.bounded import write_bounded
from engine.kernels.norm.moments import take_moments
from engine.kernels.norm.tile import Tile
from engine.kernels.norm.writers import write_floats, write_planes, write_quads
from engine.kernels.simd.narrow import HAS_NARROWING

NORM = np.dtype(
    [
        ("x", np.int64),
        ("x_panel", np.int64),
        ("y", np.int64),  # address of an f32 panel, or 0
        ("y_panel", np.int64),
        ("quads", np.int64),  # address of u8 quads, or 0
        ("quads_panel", np.int64),
        (
            "bytes",
            np.int64,
        ),  # address of rows of bytes in place of quads, or 0; a tile is then a panel, inverse not 0
        ("bytes_panel", np.int64),
        (
            "planes",
            np.int64,
        ),  # address of pairs of bfloat16, or of one plane (see bf16_planes), or 0; k is then even
        ("planes_panel", np.int64),  # bytes from panel to panel,
        ("planes_vector", np.int64),  # from vector to vector of a panel,
        ("planes_row", np.int64),  # and from pair to pair
        ("k", np.int64),
        ("row_bytes", np.int64),
        ("gain", np.int64),
        ("bias", np.int64),
        ("zero_point", np.int64),
        ("rounded", np.int64),  # 1: the f32 panel too holds the values that the quads stand for
        ("heads", np.int64),  # groups of k rows, each normalised by itself; 1 beside quads and planes
        ("keeps_mean", np.int64),  # 1: nothing is taken from x
        ("vectors", np.int64),  # of sixteen lanes that a tile has: a panel has a multiple of them
        ("epsilon", np.float32),
        ("step", np.float32),
        ("inverse", np.float32),  # 1 / step in two parts (see lowering/quotients.py);
        ("inverse_rest", np.float32),  # 0: no bounds are known, and four rows may not be whole
    ],
    align=True,
)
norm_of = record(NORM)


@inner
def _write_bytes(t: Any) -> None:
    if t.inverse != np.float32(0):
        write_bounded(t)
    else:
        write_quads(t)


_write_quantised = _write_bytes if HAS_NARROWING else write_quads


@inner
def _tile_of(a: Any, vector: int, head: int, moments: int) -> Any:
    """The tile of a head whose first vector of lanes, counted over all panels, is `vector`."""
    panel = 64 * vector // a.row_bytes
    lane = 64 * vector - panel * a.row_bytes
    first = head * a.k * a.row_bytes + lane
    return Tile(
        a.x + panel * a.x_panel + first,
        a.y + panel * a.y_panel + first if a.y != 0 else 0,
        a.quads + panel * a.quads_panel + lane,
        a.bytes + panel * a.bytes_panel if a.bytes != 0 else 0,
        a.k,
        a.row_bytes,
        64 * a.vectors,
        a.gain,
        a.bias,
        moments,
        a.zero_point,
        a.rounded,
        a.step,
        a.inverse,
        a.inverse_rest,
    )


@kernel("layer_norm_f32", "4x16")
def normalize(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Normalise some vectors of sixteen lanes of one panel and one head a tile. Needs MOMENTS bytes of scratch."""
    a = norm_of(args)
    for index in range(tile_begin, tile_end):
        group = index // a.heads
        vector = group * a.vectors
        t = _tile_of(a, vector, index - group * a.heads, scratch)
        take_moments(scratch, t.x, t.k, t.row_bytes, t.end, a.epsilon, a.keeps_mean)
        if a.quads != 0 or a.bytes != 0:
            _write_quantised(t)
        elif a.planes != 0:
            write_planes(t, vector_place(a, vector), a.planes_vector, a.planes_row)
        else:
            write_floats(t)
