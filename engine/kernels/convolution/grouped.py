"""Products of groups: each over its own channels, its results in rows of their own.

    tile:  panel, some groups:   windows of a group's channels, to scratch ── a product kernel    next group ..
                                 or its rows of the panel as they lie      ──┘

The product kernel is one of any family that reads panels or quads, called by its address with records of its own:
those of group 0, moved on by what one group has of weights, sums, constants and results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.convolution.records import copy_record, move_on, run_kernel, whole_lines
from engine.kernels.convolution.windows import RUNS_BYTES, find_runs, gather, windows_of
from engine.kernels.products.arguments import PRODUCT
from engine.kernels.products.epilogue import EPILOGUE, epilogue_of
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import read_i32, read_i64, write_i64

GROUPED = np.dtype(
    [
        (name, np.int64)
        for name in (
            "windows",  # address of a WINDOWS record over the channels of a group, whose y is not used; 0: there are none
            "x",  # the panel, where there are no windows
            "x_panel",
            "x_group",  # bytes from a group's channels to the next one's: of planes, or of the panel
            "product",  # address of a PRODUCT record of group 0, with its epilogue; x is not used, panel_block is 1
            "kernel",  # address of the product kernel
            "groups",
            "parts",  # tiles of a panel
            "part_groups",  # groups of a tile
            "strips",  # of a group
            "w_group",  # bytes of a group's weights
            "rows",  # results of a group
            "y_group",  # bytes from a group's results to the next one's
            "residual_group",
            "panel_bytes",  # of a group's windows, with what is written and read behind them
        )
    ],
    align=True,
)
grouped_of = record(GROUPED)


_X, _X_PANEL, _W, _START, _EPILOGUE = (
    int(PRODUCT.fields[name][1])  # type: ignore[index]
    for name in ("x", "x_panel", "w", "start", "epilogue")
)
_SCALE, _BIAS, _RESIDUAL, _Y = (
    int(EPILOGUE.fields[name][1])  # type: ignore[index]
    for name in ("scale", "bias", "residual", "y")
)
_PRODUCT_BYTES, _EPILOGUE_BYTES = PRODUCT.itemsize, EPILOGUE.itemsize
# In front of the windows in scratch: runs, and both records.
_OWN = RUNS_BYTES + whole_lines(_PRODUCT_BYTES)
_FRONT = _OWN + whole_lines(_EPILOGUE_BYTES)


def scratch_bytes(panel_bytes: int, product_scratch: int) -> int:
    """Bytes that a member needs."""
    return _FRONT + whole_lines(panel_bytes) + product_scratch


@inner
def _point(a: Any, group: int, x: int, product: int, own: int) -> None:
    """The records of a group, whose features lie at x."""
    source = read_i64(a.product + _EPILOGUE)
    copy_record(a.product, product, _PRODUCT_BYTES)
    copy_record(source, own, _EPILOGUE_BYTES)
    write_i64(x, product + _X)
    write_i64(0, product + _X_PANEL)
    write_i64(own, product + _EPILOGUE)
    first = group * a.rows
    move_on(product + _W, group * a.w_group)
    move_on(product + _START, 4 * first)
    move_on(own + _SCALE, first * epilogue_of(source).scale_stride)
    move_on(own + _BIAS, 4 * first)
    move_on(own + _RESIDUAL, group * a.residual_group)
    move_on(own + _Y, group * a.y_group)


@kernel("convolution_groups")
def convolve_groups(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is some groups by one panel; tiles of one panel follow each other."""
    a = grouped_of(args)
    w = windows_of(a.windows)
    last, count, rest = -1, 0, scratch + _FRONT + (a.panel_bytes + 63) // 64 * 64
    for index in range(tile_begin, tile_end):
        panel = index // a.parts
        first = (index - panel * a.parts) * a.part_groups
        if panel != last and a.windows != 0:
            count = find_runs(w, panel, scratch)
            last = panel
        for group in range(first, least(first + a.part_groups, a.groups)):
            x = a.x + panel * a.x_panel + group * a.x_group
            if a.windows != 0:
                x = y = scratch + _FRONT
                for tap in range(w.taps):
                    place = w.x + group * a.x_group + read_i32(w.offsets + 4 * tap)
                    gather(w, place, y, w.channels, scratch, count)
                    y += w.channels * w.row_bytes
            _point(a, group, x, scratch + RUNS_BYTES, scratch + _OWN)
            run_kernel(a.kernel, scratch + RUNS_BYTES, panel * a.strips, (panel + 1) * a.strips, rest)
