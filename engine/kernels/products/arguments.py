"""The args record of every product step, and how its tiles are laid over strips and panels.

A product is y[m, lane] = sum_k w[m, k] x[k, lane]. Weights come in strips of rows, activations in
panels of lanes; a tile is one strip by one panel. Panels of a block that fits L2 together are taken
before the next strip, so that a strip is read once a block:

    tile 0   strip 0, panel 0 | tile 1   strip 0, panel 1 | ... | strip 1, panel 0 | ...   then the next block
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, record
from engine.kernels.simd.arithmetic import least

# Rows of a strip of dense weights.
STRIP = 12
# Bytes by which weights are asked for before they are needed: they come from beyond L2, once a panel.
STREAM_AHEAD = 4096

PRODUCT = np.dtype(
    [
        ("x", np.int64),
        ("x_panel", np.int64),  # bytes from panel to panel
        ("k", np.int64),  # steps of k: features, or quads of them
        ("row_bytes", np.int64),  # of a panel's row
        ("last_bytes", np.int64),  # of the last panel's row, what holds lanes; 0: all of it
        (
            "few",
            np.int64,
        ),  # lanes of the last panel's last vector, where they are few; 0: a vector like others
        ("w", np.int64),  # packed weights
        ("w_index", np.int64),  # what a sparse form keeps beside its entries, or 0
        ("start", np.int64),  # address of int32 start[row] for integer sums, or 0
        ("strips", np.int64),
        ("panels", np.int64),
        ("lanes", np.int64),  # positions of a sequence: the first lanes of a panel that holds no other
        ("panel_block", np.int64),  # panels taken before the next strip
        ("epilogue", np.int64),  # address of an EPILOGUE record
    ],
    align=True,
)
product_of = record(PRODUCT)


@inner
def strip_and_panel(a: Any, tile: int) -> Any:
    """(strip, panel) of a tile."""
    whole = a.strips * a.panel_block
    block = tile // whole
    first = block * a.panel_block
    within = tile - block * whole
    panels = least(a.panel_block, a.panels - first)
    strip = within // panels
    return strip, first + within - strip * panels


@inner
def lane_bytes_of(a: Any, panel: int) -> int:
    """Bytes of a panel's rows that hold lanes: whole vectors."""
    return a.last_bytes if panel == a.panels - 1 and a.last_bytes != 0 else a.row_bytes  # type: ignore[no-any-return]


@inner
def few_of(a: Any, panel: int) -> int:
    """Lanes of a panel's last vector, where they are few; 0: it is one like the others."""
    return a.few if panel == a.panels - 1 else 0


@inner
def strip_and_run(a: Any, tile: int, tile_end: int, most: int) -> Any:
    """(strip, panel, panels) of the tiles from `tile` on that share its strip: at most `most` panels, one after another."""
    strip, panel = strip_and_panel(a, tile)
    block_end = least(a.panels, panel // a.panel_block * a.panel_block + a.panel_block)
    return strip, panel, least(least(block_end - panel, tile_end - tile), most)
