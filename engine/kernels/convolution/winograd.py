"""Windows of 3 x 3 at stride 1 by fewer products: a tile of 4 x 4 pixels gives 2 x 2 results by 16 products instead of 36.

    planes -> tiles d[4][4]     B' d B          panel [position 0 .. 15][channel][tile]
    weights g[3][3]             G g G'          strips [position][channel][12], when packed
    sums over channels, one product a position
    sums M[4][4]                A' M A  -> 2 x 2 pixels of 16 tiles -> epilogue       (winograd_results.py)

Lanes are tiles; even and odd columns of the image are planes of their own, so that each number of a tile is one load.
Source: Winograd 1980; Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", F(2 x 2, 3 x 3).
What its roundings are worth: docs/precision.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import Kernel, inner, kernel
from engine.kernels.convolution.winograd_results import FRONT, POSITIONS, finish_tiles, winograd_of
from engine.kernels.products.arguments import STRIP
from engine.kernels.products.epilogue import epilogue_of
from engine.kernels.products.few_lanes import HAS_FEW, few_lane_sums
from engine.kernels.products.strips import TileShape, strip_sums, tile_shape
from engine.kernels.row import Array, PackedWeights
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.pairs import HAS_PAIRS

# Tiles of a panel at most.
WIDTH = 32
# Behind a panel's row: whole vectors are written beyond it.
GAP = 64

# -- weights
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def pack(w: Array, channels: int, into: Callable[[Array], PackedWeights]) -> PackedWeights:
    """float32 w[m, 9 * channels], taps by taps, as what `into` makes of positions of strips; rounded once before."""
    m = len(w)
    strips = -(-m // STRIP)
    taps = w.reshape(m, 3, 3, channels).astype(np.float64)
    moved = np.zeros((strips * STRIP, POSITIONS, channels), np.float32)
    moved[:m] = np.einsum("ai,mijc,bj->mabc", _G, taps, _G).reshape(m, POSITIONS, channels)
    rows = moved.reshape(strips, STRIP, POSITIONS, channels).transpose(0, 2, 1, 3)
    entries = into(rows.reshape(-1, channels))
    return PackedWeights(
        entries.entries, entries.index, m, w.shape[1], strips, STRIP, int(np.count_nonzero(w))
    )


# -- products
_SHAPE = tile_shape(WIDTH)
_WHOLE_BYTES = 64 * _SHAPE.vectors


def _position(kind: str) -> Callable[..., None]:
    """The products of one position of a strip."""
    # Twelve rows of a panel, or as many as registers hold; six where no more are left; one vector where no two are.
    whole, one = strip_sums(_SHAPE, kind), strip_sums(tile_shape(16), kind)
    half = strip_sums(TileShape(min(6, _SHAPE.rows), _SHAPE.vectors), kind)
    few_sums = few_lane_sums(kind)

    @inner
    def multiply(a: Any, strip: int, present: int, x: int, end: int, few: int, sums: int) -> None:
        """`strip` counts positions too; few is 1 where a vector of few tiles follows."""
        lane = 0
        while lane + _WHOLE_BYTES <= end:
            if present <= 6:
                half(a, strip, present, x + lane, sums + lane)
            else:
                whole(a, strip, present, x + lane, sums + lane)
            lane += _WHOLE_BYTES
        while lane < end:
            one(a, strip, present, x + lane, sums + lane)
            lane += 64
        if few != 0:
            few_sums(a, strip, x + end, sums + end)

    return multiply


def _product_kernel(family: str, kind: str) -> Kernel:
    multiply = _position(kind)

    @kernel(family, f"{_SHAPE.rows}x{16 * _SHAPE.vectors}")
    def multiply_tiles(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        """A tile is one strip by one panel, all positions of it."""
        a = winograd_of(args)
        m, sums, position, last = epilogue_of(a.epilogue).m, scratch + FRONT, STRIP * a.row_bytes, -1
        for index in range(tile_begin, tile_end):
            panel = index // a.strips
            strip = index - panel * a.strips
            x, present = a.x + panel * a.x_panel, least(STRIP, m - strip * STRIP)
            end = a.last_bytes if panel == a.panels - 1 else 4 * a.width
            few = 1 if HAS_FEW and panel == a.panels - 1 and a.few != 0 else 0
            for at in range(POSITIONS):
                place, y = strip * POSITIONS + at, sums + at * position
                multiply(a, place, present, x + at * a.position_bytes, end - 64 * few, few, y)
            finish_tiles(a.results, args, scratch, strip, panel, end, 1 if panel != last else 0)
            last = panel

    return multiply_tiles


# By the form of the planes.
MULTIPLY_TILES = {
    "panel": _product_kernel("winograd_f32", "f32"),
    **({"pairs": _product_kernel("winograd_bf16", "bf16")} if HAS_PAIRS else {}),
}
