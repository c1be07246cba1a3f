"""Convolutions between pages that nobody may touch: what `test_guard_pages` starts.

`python convolution_pages.py windows` (or fused, grouped, banded, expanded, depthwise, depthwise_flat,
depthwise_flat_rounded, quantized_depthwise, depthwise_quads, largest_quads, moves) runs all windows and ends with exit
code 0.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from guard_pages import MARGIN, Fenced
from kernel_runs import Array

from engine.jit import Kernel
from engine.kernels.convolution import depthwise, grouped
from engine.kernels.convolution.banded import BANDED, convolve_bands
from engine.kernels.convolution.bands import Bands
from engine.kernels.convolution.expanded import EXPANDED, expand_and_slide
from engine.kernels.convolution.flat import depthwise_flat
from engine.kernels.convolution.flat_places import FLAT, Flat, is_flat
from engine.kernels.convolution.fused import FUSED, convolve, scratch_bytes
from engine.kernels.convolution.lanes import CHUNK, PIXELS, move_pixels, to_bytes, to_quads
from engine.kernels.convolution.planes import PLANES, Window, to_planes
from engine.kernels.convolution.sliding import (
    DEPTHWISE_QUADS,
    LARGEST_QUADS,
    QUAD,
    SLIDING,
    Places,
    band_rows,
    pack_taps,
)
from engine.kernels.convolution.windows import SCRATCH, WINDOWS, to_windows
from engine.kernels.dense_f32.rows import ROW as DENSE
from engine.kernels.layout import Lanes, panel_rows
from engine.kernels.products.arguments import PRODUCT
from engine.kernels.products.epilogue import EPILOGUE, STORE_QUANTIZED
from engine.kernels.products.finishers import FINISHERS, finisher_of
from engine.kernels.products.requantise import PLAIN, REQUANTISE
from engine.lowering.builder import OpenProduct
from engine.lowering.ops._expanded import Expanded
from engine.lowering.ops._flat import flat_fields
from engine.lowering.ops._sliding import whole_taps
from engine.lowering.panels import VECTORS_BEHIND
from engine.plan.steps import Layer

# image, kernel, stride, dilation, begin, end: pixels below, at and above a panel; rows that end within a vector.
WINDOWS_TRIED = (
    ((1, 1), (1, 1), (1, 1), (1, 1), (0, 0), (0, 0)),
    ((7, 7), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    ((9, 33), (3, 3), (2, 2), (1, 1), (1, 1), (0, 1)),
    ((16, 16), (1, 1), (2, 2), (1, 1), (0, 0), (0, 0)),
    ((8, 64), (5, 3), (1, 2), (2, 1), (4, 0), (4, 2)),
    ((14, 15), (7, 7), (2, 3), (1, 1), (3, 3), (3, 3)),
    ((13, 70), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    ((40, 112), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)),
)
CHANNELS, IMAGES = 6, 2


def window_of(sizes: tuple[tuple[int, int], ...]) -> Window:
    image, kernel, stride, dilation, begin, end = sizes
    rows, columns = (
        (image[axis] + begin[axis] + end[axis] - (kernel[axis] - 1) * dilation[axis] - 1) // stride[axis] + 1
        for axis in range(2)
    )
    return Window(image, (rows, columns), kernel, stride, dilation, begin)


def call(kernel: Kernel, args: Array, tiles: int, scratch: int) -> None:
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(kernel.address)(args.ctypes.data, 0, tiles, scratch)


def filled(dtype: np.dtype[np.void], fields: Mapping[str, int]) -> Array:
    record = np.zeros(1, dtype)
    for name, value in fields.items():
        record[name] = value
    return record


def panel_bytes(lanes: Lanes, k: int) -> int:
    """Of a whole panel tensor, with the room that the lowering gives it."""
    return panel_rows(k) * lanes.row_bytes * lanes.panels + VECTORS_BEHIND


class Run:
    """One window on fenced memory, sized as the lowering sizes it."""

    def __init__(self, window: Window, *, at_end: bool) -> None:
        self.window, self._at_end = window, at_end
        self._fences: list[Fenced] = []
        self._records: list[Array] = []
        self.before = Lanes.of((IMAGES, window.image[0] * window.image[1], CHANNELS), 64)
        self.after = Lanes.of((IMAGES, window.result[0] * window.result[1], CHANNELS), 64)
        self.x = self.room(panel_bytes(self.before, CHANNELS))
        offsets = 4 * np.asarray(window.offsets(), np.int32)
        self.offsets = self.fence(offsets)

    def fence(self, array: Array) -> int:
        self._fences.append(Fenced(array, at_end=self._at_end))
        return self._fences[-1].address

    def room(self, size: int) -> int:
        return self.fence(np.ones(size // 4, np.float32))

    def record(self, dtype: np.dtype[np.void], fields: Mapping[str, int]) -> Array:
        self._records.append(filled(dtype, fields))
        return self._records[-1]

    def planes(self, channels: int) -> dict[str, int]:
        w, lanes = self.window, self.before
        fields = {"x": self.x, "x_row": lanes.row_bytes, "x_panel": panel_rows(CHANNELS) * lanes.row_bytes}
        fields |= {"x_width": lanes.width, "x_pitch": lanes.pitch, "channels": channels, "present": CHANNELS}
        fields |= {"channel_bytes": 4 * w.channel, "plane_bytes": 4 * w.plane}
        fields |= {"height": w.image[0], "width": w.image[1], "rows": w.rows, "pitch": w.pitch}
        fields |= {"top": w.begin[0], "left": w.begin[1], "down": w.stride[0], "across": w.stride[1]}
        return fields | {"phases_down": w.phases(0), "phases_across": w.phases(1)}

    def seen(self, channels: int) -> dict[str, int]:
        """Planes, made, and the record of windows over them but for where they go."""
        w, lanes = self.window, self.after
        planes = self.room(4 * IMAGES * channels * w.channel + 256)
        copies = self.room(w.copies_bytes(self.before.width))
        args = self.record(PLANES, {**self.planes(channels), "y": planes})
        call(to_planes, args, IMAGES * channels, copies)
        fields = {"x": planes, "image_bytes": 4 * channels * w.channel, "channel_bytes": 4 * w.channel}
        fields |= {"offsets": self.offsets, "taps": w.taps, "channels": channels, "plane_pitch": w.pitch}
        fields |= {"width": w.result[1], "pixels": w.result[0] * w.result[1], "images": IMAGES}
        return fields | {"lane_pitch": lanes.pitch, "row_bytes": lanes.row_bytes}

    def windows(self) -> None:
        w, lanes, channels = self.window, self.after, CHANNELS + 2
        y = self.room(panel_bytes(lanes, channels * w.taps))
        place = {"y": y, "y_panel": panel_rows(channels * w.taps) * lanes.row_bytes}
        args = self.record(WINDOWS, {**self.seen(channels), **place})
        call(to_windows, args, lanes.panels * w.taps, self.room(SCRATCH))

    def product(self, lanes: Lanes, k: int) -> dict[str, int]:
        """A dense product of more rows than one strip, as who calls it has it."""
        results, kernel = 14, DENSE.kernels[lanes.width]
        packed = DENSE.pack(np.ones((results, k), np.float32))
        panel = panel_rows(results) * lanes.row_bytes
        last = {"m": results, "row_bytes": lanes.row_bytes, "y_panel": panel}
        last |= {"y": self.room(panel_bytes(lanes, results)), "bias": self.room(4 * (results + MARGIN))}
        product = {
            "k": k,
            "row_bytes": lanes.row_bytes,
            "last_bytes": lanes.last_bytes,
            "strips": packed.strips,
        }
        product |= {"w": self.fence(packed.entries), "panels": lanes.panels, "lanes": lanes.inner}
        product |= {
            "panel_block": 1,
            "epilogue": self.record(
                EPILOGUE, {**last, "finisher": finisher_of(FINISHERS, last).address}
            ).ctypes.data,
        }
        fields = {"product": self.record(PRODUCT, product).ctypes.data, "strips": packed.strips}
        return {**fields, "kernel": kernel.address}

    def fused(self) -> None:
        w, lanes = self.window, self.after
        fields = self.product(lanes, CHANNELS * w.taps)
        strips = fields["strips"]
        fields |= {"windows": self.record(WINDOWS, self.seen(CHANNELS)).ctypes.data, "parts": strips}
        fields |= {"part_strips": 1, "panel_bytes": CHANNELS * w.taps * lanes.row_bytes + 64}
        size = scratch_bytes(fields["panel_bytes"], DENSE.scratch(lanes.width))
        call(convolve, self.record(FUSED, fields), strips * lanes.panels, self.room(size))

    def grouped(self) -> None:
        """Three groups, of windows and of rows as they lie: weights and results of each behind the other's."""
        w, lanes, groups, results = self.window, self.after, 3, 7
        for seen, taps in ((None, 1), (self.seen(CHANNELS), w.taps)):
            k, kernel = CHANNELS // groups * taps, DENSE.kernels[lanes.width]
            one = DENSE.pack(np.ones((results, k), np.float32))
            panel = panel_rows(groups * results) * lanes.row_bytes
            last = {"m": results, "row_bytes": lanes.row_bytes, "y_panel": panel, "residual_panel": panel}
            last |= {name: self.room(panel_bytes(lanes, groups * results)) for name in ("y", "residual")}
            last |= {"bias": self.room(4 * (groups * results + MARGIN))}
            last |= {"finisher": finisher_of(FINISHERS, last).address}
            product = {"k": k, "row_bytes": lanes.row_bytes, "last_bytes": lanes.last_bytes}
            product |= {"strips": one.strips, "panels": lanes.panels, "lanes": lanes.inner, "panel_block": 1}
            product |= {"w": self.fence(np.stack([one.entries] * groups))}
            product |= {"epilogue": self.record(EPILOGUE, last).ctypes.data}
            fields = {"product": self.record(PRODUCT, product).ctypes.data, "kernel": kernel.address}
            fields |= {"groups": groups, "parts": 2, "part_groups": 2, "strips": one.strips}
            fields |= {"rows": results, "w_group": one.entries.nbytes, "y_group": results * lanes.row_bytes}
            fields |= {"residual_group": results * lanes.row_bytes}
            if seen is None:
                x = self.room(panel_bytes(lanes, CHANNELS))
                fields |= {"x": x, "x_panel": panel_rows(CHANNELS) * lanes.row_bytes}
                fields |= {"x_group": CHANNELS // groups * lanes.row_bytes}
            else:
                windows = self.record(WINDOWS, {**seen, "channels": CHANNELS // groups})
                fields |= {"windows": windows.ctypes.data, "panel_bytes": (k + 15) * lanes.row_bytes}
                fields |= {"x_group": 4 * (CHANNELS // groups) * w.channel}
            size = grouped.scratch_bytes(fields.get("panel_bytes", 0), DENSE.scratch(lanes.width))
            call(
                grouped.convolve_groups,
                self.record(grouped.GROUPED, fields),
                2 * lanes.panels,
                self.room(size),
            )

    def banded(self) -> None:
        """The planes of bands of one panel and of two, of one image."""
        lanes = Lanes(1, self.after.inner)
        for panels in (1, 2):
            bands = Bands(self.window, panels, lanes.panels, lanes.width, CHANNELS)
            w = bands.window
            own = {"channel_bytes": 4 * w.channel, "plane_bytes": 4 * w.plane, "rows": w.rows}
            seen = {
                "channel_bytes": 4 * w.channel,
                "offsets": self.fence(4 * np.asarray(w.offsets(), np.int32)),
            }
            seen |= {"taps": w.taps, "channels": CHANNELS, "plane_pitch": w.pitch, "width": w.result[1]}
            seen |= {
                "pixels": lanes.inner,
                "images": 1,
                "lane_pitch": lanes.pitch,
                "row_bytes": lanes.row_bytes,
            }
            fields = self.product(lanes, CHANNELS * w.taps)
            fields |= {"planes": self.record(PLANES, {**self.planes(CHANNELS), **own}).ctypes.data}
            fields |= {"planes_kernel": to_planes.address}
            fields |= {"windows": self.record(WINDOWS, seen).ctypes.data, "image_panels": lanes.panels}
            fields |= {"bands": bands.count, "band": panels}
            windows = CHANNELS * w.taps * lanes.row_bytes + 64
            places = bands.places(self.before.width, windows, DENSE.scratch(lanes.width))
            size = places.pop("size")
            call(convolve_bands, self.record(BANDED, {**fields, **places}), bands.count, self.room(size))

    def depthwise(self, *, quantized: bool) -> None:
        w, lanes = self.window, self.after
        scratch = depthwise.Scratch.of(w, lanes.pitch, self.before.width)
        store = STORE_QUANTIZED if quantized else 0
        last = {"m": CHANNELS, "bias": self.room(4 * (CHANNELS + MARGIN)), "row_bytes": lanes.row_bytes}
        last |= {
            "y": self.room(panel_bytes(lanes, CHANNELS)),
            "y_panel": panel_rows(CHANNELS) * lanes.row_bytes,
        }
        last |= {
            "integer": int(quantized),
            "scale": self.room(4 * (CHANNELS + MARGIN)),
            "store": store,
            "step": 1,
        }
        weights = np.ones((CHANNELS, w.taps), np.int8)
        entries = depthwise.pack_quads(weights) if quantized else weights.astype(np.float32)
        rows = -(-CHANNELS // 4) if quantized else CHANNELS
        planes = {**self.planes(rows), "present": rows}
        fields = {"planes": self.record(PLANES, planes).ctypes.data, "offsets": self.offsets, "taps": w.taps}
        fields |= {
            "w": self.fence(entries),
            "start": self.room(4 * (CHANNELS + MARGIN)),
            "quads": -(-CHANNELS // 4),
        }
        fields |= {"pitch": w.pitch, "height": w.result[0], "width": w.result[1], "lane_pitch": lanes.pitch}
        fields |= {"sums": scratch.sums, "flat": scratch.flat, "copies": scratch.copies}
        fields |= {
            "epilogue": self.record(
                EPILOGUE, {**last, "finisher": finisher_of(FINISHERS, last).address}
            ).ctypes.data
        }
        kernel = depthwise.DEPTHWISE_U8 if quantized else depthwise.DEPTHWISE_F32
        args = self.record(depthwise.DEPTHWISE, fields)
        call(kernel, args, IMAGES * -(-CHANNELS // 4), self.room(scratch.size))

    def flat_record(self, flat: Flat, *, rounded: bool) -> dict[str, int]:
        """All but where the image lies."""
        lanes, before = self.after, self.before
        last = {"m": CHANNELS, "bias": self.room(4 * (CHANNELS + MARGIN)), "row_bytes": lanes.row_bytes}
        last |= {
            "y": self.room(panel_bytes(lanes, CHANNELS)),
            "residual": self.room(panel_bytes(lanes, CHANNELS)),
        }
        last |= {name: panel_rows(CHANNELS) * lanes.row_bytes for name in ("y_panel", "residual_panel")}
        last |= {"store": STORE_QUANTIZED if rounded else 0, "step": 1}
        fields = {"x_width": before.width, "x_pitch": before.pitch, "quads": -(-CHANNELS // 4)}
        fields |= {
            **flat_fields(flat),
            "offsets": self.fence(flat.offsets()),
            "masks": self.fence(flat.masks()),
        }
        fields |= {"w": self.fence(np.ones((CHANNELS, self.window.taps), np.float32))}
        finisher = finisher_of(FINISHERS, last).address
        epilogue = self.record(EPILOGUE, {**last, "finisher": finisher}).ctypes.data
        return {**fields, "epilogue": epilogue}

    def flat(self, *, rounded: bool) -> None:
        """From registers, or by a finisher; the image as panels."""
        before, flat = self.before, Flat(self.window, self.after.pitch)
        fields = self.flat_record(flat, rounded=rounded)
        fields |= {"x_base": self.x, "x_row": before.row_bytes}
        fields |= {"x_panel": panel_rows(CHANNELS) * before.row_bytes}
        tiles = IMAGES * flat.bands * fields["quads"]
        call(depthwise_flat, self.record(FLAT, fields), tiles, self.room(flat.places["size"]))

    def expanded(self) -> None:
        """Over a product of one strip, whose operand has three channels; all bands in a tile, and one."""
        before, k, kernel = self.before, 3, DENSE.kernels[self.before.width]
        flat = Flat(self.window, self.after.pitch)
        packed = DENSE.pack(np.ones((CHANNELS, k), np.float32))
        last = {"m": CHANNELS, "row_bytes": before.row_bytes, "bias": self.room(4 * (CHANNELS + MARGIN))}
        last |= {"finisher": finisher_of(FINISHERS, last).address}
        product = {
            "x": self.room(panel_bytes(before, k)),
            "x_panel": panel_rows(k) * before.row_bytes,
            "k": k,
        }
        product |= {"row_bytes": before.row_bytes, "last_bytes": before.last_bytes, "few": before.few}
        product |= {"strips": 1, "panels": before.panels, "lanes": before.inner, "panel_block": before.panels}
        product |= {"w": self.fence(packed.entries), "epilogue": self.record(EPILOGUE, last).ctypes.data}
        record = {**self.flat_record(flat, rounded=False), "in_place": 1, "whole": 0}
        open_product = OpenProduct(
            {}, kernel, DENSE.scratch(before.width), (), CHANNELS, 0, Layer("", "", "")
        )
        for bands in {1, flat.bands}:
            found = Expanded.of(open_product, before, flat, bands)
            fields = {"product": self.record(PRODUCT, product).ctypes.data, "product_kernel": kernel.address}
            fields |= {"flat": self.record(FLAT, record).ctypes.data, "flat_kernel": depthwise_flat.address}
            fields |= {"strips": packed.strips, "strip_bytes": packed.entries.nbytes, "bands": found.bands}
            fields |= {"parts": found.parts, "row_bytes": found.row_bytes, "before": found.before}
            args = self.record(EXPANDED, {**fields, "rest": found.rest})
            call(expand_and_slide, args, IMAGES * found.parts, self.room(found.rest + found.scratch))

    def sliding(self, *, largest: bool) -> None:
        """From quads to quads, in bands of rows."""
        whole, lanes, quads = self.window, self.after, -(-CHANNELS // 4)
        rows = band_rows(whole)
        w = replace(whole, result=(rows, whole.result[1]))
        places, (offsets, taps) = Places.of(w, self.before.width), whole_taps(w, 1 if largest else QUAD)
        planes = {**self.planes(quads), "present": quads, "rows": w.rows}
        planes |= {"channel_bytes": 4 * w.channel, "plane_bytes": 4 * w.plane}
        constants = self.room(4 * (CHANNELS + MARGIN))
        last = self.record(EPILOGUE, {"scale": constants, "step": 1, "inverse": 1, "most": 255})
        bands = -(-whole.result[0] // rows)
        fields = {"planes": self.record(PLANES, planes).ctypes.data, "offsets": self.fence(offsets)}
        weights = pack_taps(np.ones((CHANNELS, w.taps), np.int8))
        fields |= {"taps": taps, "w": self.fence(weights), "start": constants, "quads": quads}
        fields |= {"pitch": w.pitch, "height": whole.result[0], "width": w.result[1], "bands": bands}
        fields |= {"band_rows": rows, "lane_pitch": lanes.pitch, "row_bytes": lanes.row_bytes}
        fields |= {"y": self.room(quads * lanes.row_bytes * lanes.panels), "y_panel": quads * lanes.row_bytes}
        fields |= {"flat": places.flat, "line": places.line, "copies": places.copies}
        args = self.record(SLIDING, {**fields, "epilogue": last.ctypes.data})
        kernel = LARGEST_QUADS if largest else DEPTHWISE_QUADS[REQUANTISE[PLAIN]]
        call(kernel, args, IMAGES * bands * quads, self.room(places.size))

    def moves(self) -> None:
        """An image to a panel and back, of numbers and of bytes."""
        pixels, lanes = self.window.image[0] * self.window.image[1], self.before
        y = {"y_base": self.x, "y_row": lanes.row_bytes, "y_panel": panel_rows(CHANNELS) * lanes.row_bytes}
        y |= {"y_width": lanes.width, "y_pitch": lanes.pitch}
        for item, there, back in ((4, move_pixels, move_pixels), (1, to_quads, to_bytes)):
            size = IMAGES * CHANNELS * pixels * item
            x = self.fence(np.ones(size, np.uint8))
            fields = {"x_base": x, "x_row": pixels * item, "x_panel": pixels * CHANNELS * item}
            fields |= {"x_width": pixels, "x_pitch": pixels, "channels": CHANNELS, "pixels": pixels}
            rows = -(-pixels // CHUNK) if item == 4 else -(-CHANNELS // 4)
            args = self.record(PIXELS, {**fields, **y, "fill": lanes.pitch - pixels})
            call(there, args, IMAGES * rows, 0)
            swapped = {**fields, **y}
            for name in ("base", "row", "panel", "width", "pitch"):
                swapped[f"x_{name}"], swapped[f"y_{name}"] = swapped[f"y_{name}"], swapped[f"x_{name}"]
            tiles = rows if item == 4 else CHANNELS
            call(back, self.record(PIXELS, swapped), IMAGES * tiles, 0)


def main(kind: str) -> None:
    """All windows, with the fence close behind and close before."""
    for sizes in WINDOWS_TRIED:
        if kind == "expanded" and not is_flat(window_of(sizes)):
            continue
        for at_end in (True, False):
            tried = Run(window_of(sizes), at_end=at_end)
            if kind in ("windows", "moves", "fused", "grouped", "banded", "expanded"):
                getattr(tried, kind)()
            elif kind in ("depthwise_flat", "depthwise_flat_rounded"):
                tried.flat(rounded=kind == "depthwise_flat_rounded")
            elif kind.endswith("_quads"):
                tried.sliding(largest=kind == "largest_quads")
            else:
                tried.depthwise(quantized=kind == "quantized_depthwise")


if __name__ == "__main__":
    main(sys.argv[1])
