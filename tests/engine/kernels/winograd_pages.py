"""Convolutions by fewer products, and pairs of bfloat16, between pages that nobody may touch, as convolution_pages.py.

`python winograd_pages.py winograd` (or winograd_bf16, pairs).
"""

from __future__ import annotations

import sys

import numpy as np
from convolution_pages import CHANNELS, IMAGES, WINDOWS_TRIED, Run, call, panel_bytes, window_of
from guard_pages import MARGIN

from engine.kernels.convolution import winograd, winograd_results, winograd_tiles
from engine.kernels.convolution.lanes import PIXELS
from engine.kernels.convolution.pairs import to_pairs
from engine.kernels.convolution.windows import WINDOWS
from engine.kernels.dense_bf16.rows import ROW as DENSE_BF16
from engine.kernels.dense_f32.rows import ROW as DENSE
from engine.kernels.layout import Lanes, pair_rows, panel_rows
from engine.kernels.products.activation import ACTIVATIONS
from engine.kernels.products.activators import ACTIVATORS
from engine.kernels.products.epilogue import EPILOGUE
from engine.lowering.panels import VECTORS_BEHIND

# Tiles of 4 x 4, as windows are there.
TILES_TRIED = (
    ((3, 3), (4, 4), (2, 2), (1, 1), (1, 1), (0, 0)),
    ((15, 15), (4, 4), (2, 2), (1, 1), (1, 1), (2, 2)),
    ((7, 75), (4, 4), (2, 2), (1, 1), (0, 1), (1, 2)),
)


class Tiles(Run):
    """One window, of tiles or of pixels that become pairs."""

    def winograd(self, form: str) -> None:
        """For windows of 4 x 4 at stride 2: tiles of the results of 3 x 3 at stride 1, the last of which may be cut."""
        w, results = self.window, 14
        self.after = tiles = Lanes(IMAGES, w.result[0] * w.result[1], winograd.WIDTH)
        row, down, columns = tiles.row_bytes + winograd.GAP, 2 * w.result[0] - 1, 2 * w.result[1] - 1
        position = CHANNELS * row + 64
        panel = winograd_results.POSITIONS * position
        x = self.room(tiles.panels * panel + 64)
        fields = {"windows": self.record(WINDOWS, self.seen(CHANNELS)).ctypes.data, "y": x, "y_panel": panel}
        fields |= {"plane_bytes": 4 * w.plane, "groups": 2, "group": CHANNELS // 2, "row_bytes": row}
        args = self.record(winograd_tiles.TILES, {**fields, "position_bytes": position})
        scratch = self.room(winograd_tiles.SCRATCH)
        call(winograd_tiles.TO_TILES[form], args, 2 * tiles.panels, scratch)
        # A pair of channels is as large as one: there are twice as many then.
        channels, row_of = (CHANNELS, DENSE) if form == "panel" else (2 * CHANNELS, DENSE_BF16)
        packed = winograd.pack(np.ones((results, 9 * channels), np.float32), channels, row_of.pack)
        lanes = Lanes(IMAGES, down * columns, 64)
        last = {"m": results, "row_bytes": lanes.row_bytes, "y": self.room(panel_bytes(lanes, results))}
        last |= {"y_panel": panel_rows(results) * lanes.row_bytes, "bias": self.room(4 * (results + MARGIN))}
        fields = {"x": x, "x_panel": panel, "row_bytes": row, "position_bytes": position, "k": CHANNELS}
        fields |= {"w": self.fence(packed.entries), "strips": packed.strips, "panels": tiles.panels}
        fields |= {"width": tiles.width, "last_bytes": tiles.last_bytes, "tiles": tiles.inner}
        fields |= {"across": w.result[1], "tile_pitch": tiles.pitch, "images": IMAGES, "down": down}
        fields |= {"columns": columns, "lane_pitch": lanes.pitch}
        fields |= {"results": winograd_results.TO_RESULTS[form].address}
        if form == "pairs":
            pairs = results // 2 * lanes.row_bytes
            last |= {"planes": self.room(pairs * lanes.panels + VECTORS_BEHIND), "planes_panel": pairs}
            last |= {"planes_vector": 64, "planes_row": lanes.row_bytes}
        for number in (ACTIVATIONS["none"], ACTIVATIONS["silu"]):
            epilogue = self.record(EPILOGUE, {**last, "activation": number}).ctypes.data
            fields |= {"epilogue": epilogue, "activator": ACTIVATORS[number].address}
            args, size = self.record(winograd_results.WINOGRAD, fields), winograd_results.product_scratch(row)
            call(winograd.MULTIPLY_TILES[form], args, packed.strips * tiles.panels, self.room(size))

    def pairs(self) -> None:
        """Of an image, and of panels, of an odd number of channels."""
        pixels, lanes, channels = self.window.image[0] * self.window.image[1], self.before, CHANNELS - 1
        size = pair_rows(channels) * lanes.row_bytes
        y = {"y_base": self.room(size * lanes.panels), "y_row": lanes.row_bytes, "y_panel": size}
        y |= {"y_width": lanes.width, "y_pitch": lanes.pitch, "channels": channels}
        image = 4 * pixels * channels
        x = {"x_base": self.room(IMAGES * image + VECTORS_BEHIND), "x_row": 4 * pixels, "x_panel": image}
        args = self.record(PIXELS, {**y, **x, "x_width": pixels, "x_pitch": pixels})
        call(to_pairs, args, IMAGES * lanes.pitch // 16, 0)
        x = {"x_base": self.x, "x_row": lanes.row_bytes, "x_panel": panel_rows(CHANNELS) * lanes.row_bytes}
        y["y_pitch"] = lanes.panels * lanes.width
        args = self.record(PIXELS, {**y, **x, "x_width": lanes.width})
        call(to_pairs, args, lanes.vectors, 0)


def main(kind: str) -> None:
    """All windows, with the fence close behind and close before."""
    for sizes in WINDOWS_TRIED if kind == "pairs" else TILES_TRIED:
        for at_end in (True, False):
            tried = Tiles(window_of(sizes), at_end=at_end)
            if kind == "pairs":
                tried.pairs()
            else:
                tried.winograd("pairs" if kind == "winograd_bf16" else "panel")


if __name__ == "__main__":
    main(sys.argv[1])
