"""A depthwise convolution over the results of a product that nobody else reads, and that are never laid out as a whole.

    tile:  strip of twelve channels, band of lanes:    product ── rows in scratch ── depthwise, for each band in them

    a row of scratch      zeros | lanes of a channel, all panels side by side | zeros

The product makes the lanes that the bands see, those of neighbouring rows too. Both kernels are called by their addresses,
with records of their own that say that what is between lies in scratch: the depthwise one reads it there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.convolution.flat import clear, find_band
from engine.kernels.convolution.flat_places import CHANNELS, FLAT, flat_of
from engine.kernels.convolution.records import add_to, copy_record, move_on, run_kernel, whole_lines
from engine.kernels.products.arguments import PRODUCT, STRIP, product_of
from engine.kernels.products.epilogue import EPILOGUE
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import write_i64

EXPANDED = np.dtype(
    [
        (name, np.int64)
        for name in (
            "product",  # address of a PRODUCT record of one strip, with its epilogue; panel_block is all panels
            "product_kernel",
            "flat",  # address of a FLAT record, whose x is not used
            "flat_kernel",
            "strips",  # of the product
            "strip_bytes",  # of its weights
            "bands",  # bands of an image that a tile takes; the last of an image has what is left
            "parts",  # tiles of an image by one strip
            "row_bytes",  # of a row in scratch
            "before",  # bytes in front of its lanes
            "rest",  # place in scratch of what the kernels need
        )
    ],
    align=True,
)
expanded_of = record(EXPANDED)


_W, _EPILOGUE = (int(PRODUCT.fields[name][1]) for name in ("w", "epilogue"))  # type: ignore[index]
_X, _PANELS = (int(PRODUCT.fields[name][1]) for name in ("x", "panels"))  # type: ignore[index]
_M, _BIAS, _Y, _Y_PANEL, _ROW = (
    int(EPILOGUE.fields[name][1])  # type: ignore[index]
    for name in ("m", "bias", "y", "y_panel", "row_bytes")
)
_X_BASE, _X_ROW = (int(FLAT.fields[name][1]) for name in ("x_base", "x_row"))  # type: ignore[index]
_PRODUCT_BYTES, _EPILOGUE_BYTES, _FLAT_BYTES = PRODUCT.itemsize, EPILOGUE.itemsize, FLAT.itemsize
_OWN = whole_lines(_PRODUCT_BYTES)
_SLIDE = _OWN + whole_lines(_EPILOGUE_BYTES)
# In front of the rows in scratch: the three records.
FRONT = _SLIDE + whole_lines(_FLAT_BYTES)


@inner
def _multiply(a: Any, strip: int, panel: int, behind: int, rows: int, own: int, rest: int) -> None:
    """A strip of panels panel .. behind - 1, to rows whose lanes begin there."""
    source, epilogue = product_of(a.product), own + _OWN
    copy_record(a.product, own, _PRODUCT_BYTES)
    copy_record(source.epilogue, epilogue, _EPILOGUE_BYTES)
    write_i64(epilogue, own + _EPILOGUE)
    add_to(own + _X, panel * source.x_panel)
    add_to(own + _PANELS, -panel)
    add_to(own + _W, strip * a.strip_bytes)
    add_to(epilogue + _M, -strip * STRIP)
    move_on(epilogue + _BIAS, 4 * strip * STRIP)
    # All panels side by side are one, as who stores by lanes sees it.
    write_i64(rows, epilogue + _Y)
    write_i64(source.row_bytes, epilogue + _Y_PANEL)
    write_i64(a.row_bytes, epilogue + _ROW)
    run_kernel(a.product_kernel, own, 0, behind - panel, rest)


@inner
def _clear_around(a: Any, f: Any, seen: Any, lanes: int) -> None:
    """Zeros where lanes lie together and rows beyond the image are seen; `lanes` is where the image's begin."""
    # The larger of both: a band may lie beyond the image.
    pixels = -least(-f.height * f.width, -seen.first)
    for row in range(lanes, lanes + STRIP * a.row_bytes, a.row_bytes):
        if seen.first < 0:
            clear(row + 4 * seen.first, seen.origin - seen.first)
        if seen.behind > pixels:
            clear(row + 4 * pixels, seen.behind - pixels)


@kernel("depthwise_expanded_f32")
def expand_and_slide(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is one strip by some bands of an image."""
    a = expanded_of(args)
    f = flat_of(a.flat)
    rest = scratch + a.rest
    for index in range(tile_begin, tile_end):
        part = index // a.strips
        strip, image = index - part * a.strips, part // a.parts
        first = (part - image * a.parts) * a.bands
        end = least(first + a.bands, f.bands)
        seen = find_band(f, image, first * f.band, least(end * f.band, f.lane_pitch), rest)
        lane = image * f.x_pitch
        panel = (lane + seen.origin) // f.x_width
        behind = (lane + seen.stop - 1) // f.x_width + 1 if seen.stop > seen.origin else panel
        rows = scratch + FRONT + a.before
        _multiply(a, strip, panel, behind, rows, scratch, rest)
        lanes = rows + 4 * (lane - panel * f.x_width)
        if f.copied != 0:
            _clear_around(a, f, seen, lanes)
        slide = scratch + _SLIDE
        copy_record(a.flat, slide, _FLAT_BYTES)
        write_i64(lanes - strip * STRIP * a.row_bytes, slide + _X_BASE)
        write_i64(a.row_bytes, slide + _X_ROW)
        quads = STRIP // CHANNELS
        for band in range(first, end):
            begin = (image * f.bands + band) * f.quads
            stop = begin + least(quads * (strip + 1), f.quads)
            run_kernel(a.flat_kernel, slide, begin + quads * strip, stop, rest)
