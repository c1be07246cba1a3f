"""Convolutions between pages that nobody may touch: what `test_guard_pages` starts.

`python convolution_pages.py direct` (or depthwise) runs all windows and ends with exit code 0.
"""

from __future__ import annotations

import ctypes
import sys

import numpy as np
from guard_pages import MARGIN, Fenced
from kernel_runs import Array

from engine.jit import Kernel
from engine.kernels.convolution import depthwise, direct
from engine.kernels.convolution.arguments import CONVOLUTION
from engine.kernels.convolution.planes import PLANES, Window, to_planes
from engine.kernels.products.epilogue import EPILOGUE

# image, kernel, stride, dilation, begin, end: pixels below, at and above a tile; rows that end within a vector.
WINDOWS = (
    ((1, 1), (1, 1), (1, 1), (1, 1), (0, 0), (0, 0)),
    ((7, 7), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    ((9, 33), (3, 3), (2, 2), (1, 1), (1, 1), (0, 1)),
    ((16, 16), (1, 1), (1, 1), (1, 1), (0, 0), (0, 0)),
    ((8, 64), (5, 3), (1, 2), (2, 1), (4, 0), (4, 2)),
    ((14, 15), (7, 7), (2, 3), (1, 1), (3, 3), (3, 3)),
)
CHANNELS, RESULTS, IMAGES = 3, 14, 2


def window_of(sizes: tuple[tuple[int, int], ...]) -> Window:
    image, kernel, stride, dilation, begin, end = sizes
    rows, columns = (
        (image[axis] + begin[axis] + end[axis] - (kernel[axis] - 1) * dilation[axis] - 1) // stride[axis] + 1
        for axis in range(2)
    )
    return Window(image, (rows, columns), kernel, stride, dilation, begin)


def call(kernel: Kernel, args: Array, tiles: int, scratch: int) -> None:
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(kernel.address)(args.ctypes.data, 0, tiles, scratch)


def filled(dtype: np.dtype[np.void], fields: dict[str, int]) -> Array:
    record = np.zeros(1, dtype)
    for name, value in fields.items():
        record[name] = value
    return record


def run(kind: str, window: Window, *, at_end: bool) -> None:
    """One convolution on fenced memory, sized as the lowering sizes it: tensors have room for a vector at their end."""
    source, taps = np.random.default_rng(1), window.offsets()
    images = source.standard_normal((IMAGES, CHANNELS, *window.image)).astype(np.float32)
    results = CHANNELS if kind == "depthwise" else RESULTS
    w = source.standard_normal((results, 1 if kind == "depthwise" else CHANNELS, len(taps))).astype(
        np.float32
    )
    packed = direct.pack_groups(w, 1)
    offsets = np.arange(w.shape[1])[:, None] * window.channel + np.asarray(taps)
    y = np.zeros(IMAGES * results * window.result[0] * window.result[1], np.float32)
    x = np.concatenate([images.reshape(-1), np.zeros(16, np.float32)])
    scratch = depthwise.SCRATCH if kind == "depthwise" else direct.SCRATCH
    parts: dict[str, Array] = {
        "x": x,
        "planes": np.zeros(IMAGES * CHANNELS * window.channel, np.float32),
        "w": w if kind == "depthwise" else packed.entries,
        "offsets": (4 * offsets.reshape(-1)).astype(np.int32),
        "rows": np.zeros(results + MARGIN, np.float32),
        "y": y,
        "scratch": np.zeros(scratch, np.uint8),
    }
    fenced = {name: Fenced(part, at_end=at_end) for name, part in parts.items()}
    place = {name: part.address for name, part in fenced.items()}
    fields = {"x": place["x"], "y": place["planes"], "channel_bytes": 4 * window.channel}
    fields |= {"plane_bytes": 4 * window.plane, "height": window.image[0], "width": window.image[1]}
    fields |= {"rows": window.rows, "pitch": window.pitch, "top": window.begin[0], "left": window.begin[1]}
    fields |= {"down": window.stride[0], "across": window.stride[1]}
    call(to_planes, filled(PLANES, fields), IMAGES * CHANNELS, 0)
    record = filled(EPILOGUE, {"m": results, "bias": place["rows"], "row_bytes": 256})
    strips = results if kind == "depthwise" else packed.strips
    fields = {"x": place["planes"], "image_bytes": 4 * CHANNELS * window.channel, "w": place["w"]}
    fields |= {"group_bytes": 4 * window.channel * w.shape[1], "offsets": place["offsets"]}
    fields |= {
        "k": w.shape[1] * w.shape[2],
        "strips": strips,
        "y": place["y"],
        "m": results,
        "panel_block": 2,
    }
    fields |= {"group_strips": 1 if kind == "depthwise" else strips, "pitch": window.pitch}
    fields |= {"group_rows": 1 if kind == "depthwise" else results, "panels": IMAGES * window.tiles}
    fields |= {"image_panels": window.tiles, "height": window.result[0], "width": window.result[1]}
    fields |= {"epilogue": record.ctypes.data}
    kernel = depthwise.convolve_depthwise if kind == "depthwise" else direct.convolve
    tiles = IMAGES * (results if kind == "depthwise" else strips * window.tiles)
    call(kernel, filled(CONVOLUTION, fields), tiles, place["scratch"])


def main(kind: str) -> None:
    """All windows, with the fence close behind and close before."""
    for sizes in WINDOWS:
        for at_end in (True, False):
            run(kind, window_of(sizes), at_end=at_end)


if __name__ == "__main__":
    main(sys.argv[1])
