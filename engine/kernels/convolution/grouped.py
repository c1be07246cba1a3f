"""Products of groups: each over its own channels, its results in rows of their own.

    tile:  panel, some groups:   windows of a group's channels, to scratch ── a product kernel    next group ..
                                 or its rows of the panel as they lie      ──┘

The product kernel is one of any family that reads panels or quads, called by its address with records of its own:
those of group 0, moved on by what one group has of weights, sums, constants and results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import call_by_address, inner, kernel, record
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


def _up(size: int) -> int:
    return -(-size // 64) * 64


_run_kernel = call_by_address(4)
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
_OWN = RUNS_BYTES + _up(_PRODUCT_BYTES)
_FRONT = _OWN + _up(_EPILOGUE_BYTES)


def scratch_bytes(panel_bytes: int, product_scratch: int) -> int:
    """Bytes that a member needs."""
    return _FRONT + _up(panel_bytes) + product_scratch


@inner
def _copy(x: int, y: int, size: int) -> None:
    for at in range(0, size, 8):
        write_i64(read_i64(x + at), y + at)


@inner
def _add(place: int, bytes_on: int) -> None:
    """Move an address on; 0 stands for none."""
    address = read_i64(place)
    if address != 0:
        write_i64(address + bytes_on, place)


@inner
def _point(a: Any, group: int, x: int, product: int, own: int) -> None:
    """The records of a group, whose features lie at x."""
    source = read_i64(a.product + _EPILOGUE)
    _copy(a.product, product, _PRODUCT_BYTES)
    _copy(source, own, _EPILOGUE_BYTES)
    write_i64(x, product + _X)
    write_i64(0, product + _X_PANEL)
    write_i64(own, product + _EPILOGUE)
    first = group * a.rows
    _add(product + _W, group * a.w_group)
    _add(product + _START, 4 * first)
    _add(own + _SCALE, first * epilogue_of(source).scale_stride)
    _add(own + _BIAS, 4 * first)
    _add(own + _RESIDUAL, group * a.residual_group)
    _add(own + _Y, group * a.y_group)


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
            _run_kernel(a.kernel, scratch + RUNS_BYTES, panel * a.strips, (panel + 1) * a.strips, rest)
