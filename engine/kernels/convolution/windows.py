"""What a sliding window sees, tap by tap, as the panel that a product reads.

    planes [channel][phase][row][pitch]    =>    panel [tap][channel][lane]

Of a panel's row the pixels of one image row are a run: whole vectors are copied, and what one writes too many is
written once more by the next run, at last into the next row.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import load_i32, read_i32, read_i64, store_i32, write_i64

# Runs of a panel: source and target of up to 64 vectors each.
RUNS_BYTES = 64 * 16
# Runs, a row, and what is written behind it.
SCRATCH = RUNS_BYTES + 256 + 64

WINDOWS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "x",  # planes
            "image_bytes",
            "channel_bytes",
            "offsets",  # address of int32 [taps]: bytes from a channel's first plane to pixel 0 of a tap
            "taps",
            "channels",  # (quads of) channels of a tap
            "plane_pitch",  # numbers from row to row
            "width",  # of the result
            "pixels",  # of the result
            "images",
            "lane_pitch",  # lanes from image to image
            "row_bytes",  # of the panel
            "y",
            "y_panel",
        )
    ],
    align=True,
)
windows_of = record(WINDOWS)


@inner
def find_runs(a: Any, panel: int, runs: int) -> int:
    """Source and target offsets of every vector of a panel's row, to `runs`; how many there are."""
    width = a.row_bytes // 4
    lane, end, found = panel * width, (panel + 1) * width, 0
    while lane < end:
        image = lane // a.lane_pitch
        pixel = lane - image * a.lane_pitch
        if image >= a.images:
            break
        if pixel >= a.pixels:
            lane += a.lane_pitch - pixel
            continue
        row = pixel // a.width
        column = pixel - row * a.width
        run = least(a.width - column, end - lane)
        source = image * a.image_bytes + 4 * (row * a.plane_pitch + column)
        for at in range(0, run, 16):
            write_i64(source + 4 * at, runs + 16 * found)
            write_i64(4 * (lane + at - panel * width), runs + 16 * found + 8)
            found += 1
        lane += run
    return found


@inner
def _four_runs(a: Any, x: int, y: int, channels: int, runs: int) -> None:
    x0, x1, x2, x3 = read_i64(runs), read_i64(runs + 16), read_i64(runs + 32), read_i64(runs + 48)
    y0, y1, y2, y3 = read_i64(runs + 8), read_i64(runs + 24), read_i64(runs + 40), read_i64(runs + 56)
    for _ in range(channels):
        store_i32(load_i32(x + x0), y + y0)
        store_i32(load_i32(x + x1), y + y1)
        store_i32(load_i32(x + x2), y + y2)
        store_i32(load_i32(x + x3), y + y3)
        x += a.channel_bytes
        y += a.row_bytes


@inner
def gather(a: Any, x: int, y: int, channels: int, runs: int, count: int) -> None:
    """So many channels from the tap at x on to y, with the runs that were found."""
    if count == 4:
        _four_runs(a, x, y, channels, runs)
    else:
        for _ in range(channels):
            for at in range(runs, runs + 16 * count, 16):
                store_i32(load_i32(x + read_i64(at)), y + read_i64(at + 8))
            x += a.channel_bytes
            y += a.row_bytes


@kernel("windows")
def to_windows(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is one tap of one panel; its last row goes through scratch, as others write behind it."""
    a = windows_of(args)
    row = scratch + RUNS_BYTES
    for tile in range(tile_begin, tile_end):
        panel = tile // a.taps
        tap = tile - panel * a.taps
        count = find_runs(a, panel, scratch)
        x = a.x + read_i32(a.offsets + 4 * tap)
        y = a.y + panel * a.y_panel + tap * a.channels * a.row_bytes
        gather(a, x, y, a.channels - 1, scratch, count)
        gather(a, x + (a.channels - 1) * a.channel_bytes, row, 1, scratch, count)
        for at in range(0, a.row_bytes, 64):
            store_i32(load_i32(row + at), y + (a.channels - 1) * a.row_bytes + at)
