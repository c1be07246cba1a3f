"""A product over windows that are never laid out as a whole: panel by panel, each where its member works.

    tile:  planes ── windows of one panel, to scratch ── a product kernel over some strips

The product kernel is one of any family: it is called by its address, with a record of its own that says that the panel
lies in scratch.
"""

from __future__ import annotations

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.convolution.records import copy_record, run_kernel, whole_lines
from engine.kernels.convolution.windows import RUNS_BYTES, find_runs, gather, windows_of
from engine.kernels.products.arguments import PRODUCT
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import read_i32, write_i64

FUSED = np.dtype(
    [
        (name, np.int64)
        for name in (
            "windows",  # address of a WINDOWS record, whose y is not used
            "product",  # address of a PRODUCT record, whose x is not used; its panel_block is 1
            "kernel",  # address of the product kernel
            "strips",
            "parts",  # tiles of a panel
            "part_strips",  # strips of a tile
            "panel_bytes",  # of a panel's windows, with what is written and read behind them
        )
    ],
    align=True,
)
fused_of = record(FUSED)
_RECORD = PRODUCT.itemsize
RECORD_BYTES = whole_lines(_RECORD)
_X, _X_PANEL = (int(PRODUCT.fields[name][1]) for name in ("x", "x_panel"))  # type: ignore[index]
# In front of the panel in scratch: runs, and the product's record.
_FRONT = RUNS_BYTES + RECORD_BYTES


def scratch_bytes(panel_bytes: int, product_scratch: int) -> int:
    """Bytes that a member needs."""
    return _FRONT + panel_bytes + product_scratch


@inner
def run_product(product: int, kernel: int, own: int, x: int, tile: int, tiles: int, scratch: int) -> None:
    """So many tiles from `tile` on of a product, all of whose panels are the one at x; its record is copied to `own`."""
    copy_record(product, own, _RECORD)
    write_i64(x, own + _X)
    write_i64(0, own + _X_PANEL)
    run_kernel(kernel, own, tile, tile + tiles, scratch)


@kernel("convolution")
def convolve(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is a part of the strips by one panel; parts of one panel follow each other, and share its windows."""
    a = fused_of(args)
    w = windows_of(a.windows)
    own, x, last = scratch + RUNS_BYTES, scratch + _FRONT, -1
    for index in range(tile_begin, tile_end):
        panel = index // a.parts
        first = (index - panel * a.parts) * a.part_strips
        if panel != last:
            count = find_runs(w, panel, scratch)
            y = x
            for tap in range(w.taps):
                gather(w, w.x + read_i32(w.offsets + 4 * tap), y, w.channels, scratch, count)
                y += w.channels * w.row_bytes
            last = panel
        strips = least(a.part_strips, a.strips - first)
        run_product(a.product, a.kernel, own, x, panel * a.strips + first, strips, x + a.panel_bytes)
