"""The args record of convolutions, and how finished sums leave for the result's own rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, record
from engine.kernels.products.epilogue import epilogue_of, value_of
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import load_f32, read_f32, store_f32, write_f32

CONVOLUTION = np.dtype(
    [
        (name, np.int64)
        for name in (
            "x",  # planes of image 0
            "image_bytes",  # from image to image
            "group_bytes",  # from the first channel of a group to that of the next
            "offsets",  # address of int32 [k]: bytes from a group's first plane to pixel 0 of each step of k
            "k",
            "w",
            "strips",  # of all groups
            "group_strips",
            "group_rows",  # results of a group
            "panels",  # tiles of pixels of all images
            "image_panels",
            "panel_block",
            "pitch",
            "height",  # of the result
            "width",
            "m",
            "y",  # float32 [images][m][height][width]
            "epilogue",  # address of an EPILOGUE record: bias and activation
        )
    ],
    align=True,
)
convolution_of = record(CONVOLUTION)


@inner
def _copy(x: int, y: int, count: int, room: int) -> None:
    """`count` numbers; behind them, up to `room` numbers in all may be overwritten."""
    if (count + 15) // 16 * 16 <= room:
        for at in range(0, count, 16):
            store_f32(load_f32(x + 4 * at), y + 4 * at)
    elif count >= 16:
        # The last vector overlaps the one before it.
        for at in range(0, count - 15, 16):
            store_f32(load_f32(x + 4 * at), y + 4 * at)
        store_f32(load_f32(x + 4 * count - 64), y + 4 * count - 64)
    else:
        for at in range(count):
            write_f32(read_f32(x + 4 * at), y + 4 * at)


@inner
def store_pixels(a: Any, sums: int, y: int, first: int, count: int) -> None:
    """Pixels first .. first + count - 1 of the flat plane, those that the result has, to the row at y."""
    pixel, end = first, least(first + count, a.height * a.pitch)
    # Results behind the last of these are another tile's; those before it are written in their turn.
    last = (end - 1) // a.pitch
    stop = last * a.width + least(a.width, end - last * a.pitch)
    while pixel < end:
        row = pixel // a.pitch
        place = pixel - row * a.pitch
        run = least(a.pitch - place, end - pixel)
        target = row * a.width + place
        _copy(sums + 4 * (pixel - first), y + 4 * target, least(run, a.width - place), stop - target)
        pixel += run


@inner
def finish_pixels(a: Any, sums: int, channel: int, image: int, first: int, count: int) -> None:
    """Bias and activation on one result's sums of so many pixels, a multiple of 16; then out to its rows."""
    e = epilogue_of(a.epilogue)
    for at in range(0, 4 * count, 64):
        store_f32(value_of(e, load_f32(sums + at), channel, 0), sums + at)
    y = a.y + 4 * (image * a.m + channel) * a.height * a.width
    store_pixels(a, sums, y, first, count)
