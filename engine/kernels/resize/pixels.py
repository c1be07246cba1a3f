"""Sums of images of another size on f32 panels: sixteen pixels of the result at a time, feature by feature.

    source, upper row    ..|a a a a|b b b b|..        a part of a vector of the result: lanes of one of its rows that lie
    source, lower row    ..|c c c c|d d d d|..        between numbers of two vectors of each row of the source

Four loads, a choice of two numbers for each lane from either pair, and three steps between two numbers each. What is
chosen, and by which shares, stands in patterns, which many parts have in common. Lanes that a part does not name get 0 from
it, so that parts of one vector are added up, and so are sources: their records are linked. A tile is a block of features
of one panel of the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.simd.arithmetic import lanes_set, least, select, splat_f32
from engine.kernels.simd.lookup import pick_of_two
from engine.kernels.simd.memory import load_f32, load_i32, read_i64, store_f32

# Features of a tile: its part of the result stays in L1 while parts are added to it.
BLOCK = 64
PIXELS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "following",  # address of the record of the next source, or 0
            *("x", "x_row", "y", "y_panel", "y_row", "k", "blocks"),  # _row: bytes from feature to feature
            "parts",  # address of PART [parts], in the order of the result's vectors
            "firsts",  # address of int64 [panels + 1]: the first part of each panel
            "patterns",  # address of PATTERN [patterns]
            "linear",  # 1: between two numbers; 0: the first
            "adds",  # 1: to what is there
        )
    ],
    align=True,
)
# Bytes: from the result's panel on; from the source's first on; from the first pattern on.
PART = np.dtype(
    [
        *(
            (name, np.int64)
            for name in ("y", "upper", "upper_next", "lower", "lower_next", "pattern", "adds")
        ),
        ("share", np.float32),  # of the lower row
        ("unused", np.float32),
    ],
    align=True,
)
# Places among 32 numbers, of the upper row and of the lower one; shares of the second number; lanes that are named.
PATTERN = np.dtype(
    [
        *((name, np.int32, 16) for name in ("upper", "upper_second", "lower", "lower_second")),
        ("share", np.float32, 16),
        ("lanes", np.int64, 8),
    ],
    align=True,
)
pixels_of = record(PIXELS)
part_of = record(PART)
_SECOND, _LOWER, _SHARES, _LANES = 64, 128, 256, 320


@inner
def _row_between(near: int, far: int, pattern: int, keep: Any, share: Any) -> Any:
    """Sixteen pixels between numbers of one row of the source."""
    first, second = load_f32(near), load_f32(far)
    chosen = pick_of_two(first, second, load_i32(pattern))
    return chosen * keep + pick_of_two(first, second, load_i32(pattern + _SECOND)) * share


@inner
def _put(value: Any, named: Any, y: int, adds: int) -> None:
    kept = select(named, value, splat_f32(np.float32(0)))
    if adds != 0:
        kept = load_f32(y) + kept
    store_f32(kept, y)


@inner
def _between(a: Any, p: Any, x: int, y: int, rows: int, adds: int) -> None:
    """A part of features that lie between four numbers each."""
    pattern = a.patterns + p.pattern
    share, lower = load_f32(pattern + _SHARES), splat_f32(p.share)
    keep, upper = splat_f32(np.float32(1)) - share, splat_f32(np.float32(1) - p.share)
    named = lanes_set(read_i64(pattern + _LANES))
    for row in range(rows):
        source = x + row * a.x_row
        above = _row_between(source + p.upper, source + p.upper_next, pattern, keep, share)
        below = _row_between(source + p.lower, source + p.lower_next, pattern + _LOWER, keep, share)
        _put(above * upper + below * lower, named, y + row * a.y_row, adds)


@inner
def _nearest(a: Any, p: Any, x: int, y: int, rows: int, adds: int) -> None:
    """A part of features that are one number each."""
    pattern = a.patterns + p.pattern
    index, named = load_i32(pattern), lanes_set(read_i64(pattern + _LANES))
    for row in range(rows):
        source = x + row * a.x_row
        value = pick_of_two(load_f32(source + p.upper), load_f32(source + p.upper_next), index)
        _put(value, named, y + row * a.y_row, adds)


@inner
def _add_source(args: int, panel: int, feature: int) -> Any:
    """Add one source's parts of a tile; the address of the next source's record."""
    a = pixels_of(args)
    rows = least(BLOCK, a.k - feature)
    x, y = a.x + feature * a.x_row, a.y + panel * a.y_panel + feature * a.y_row
    for part in range(read_i64(a.firsts + 8 * panel), read_i64(a.firsts + 8 * panel + 8)):
        p = part_of(a.parts + 64 * part)
        adds = p.adds | a.adds
        if a.linear != 0:
            _between(a, p, x, y + p.y, rows, adds)
        else:
            _nearest(a, p, x, y + p.y, rows, adds)
    return a.following


@kernel("resize_pixels_f32")
def resize_pixels(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Blocks of features, panel by panel."""
    blocks = pixels_of(args).blocks
    for tile in range(tile_begin, tile_end):
        source = args
        while source != 0:
            source = _add_source(source, tile // blocks, tile % blocks * BLOCK)
