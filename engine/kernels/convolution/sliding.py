"""Windows of bytes that see one channel, from quads to quads: depthwise convolutions, and the largest byte.

A tile is a quad of four channels of a band of rows, few enough for planes and results to stay in L1; quads of a band, which
lie together in the panels, come one after another:

    padded planes of quads, in scratch  ->  quads [row][pitch]  ->  quads [pixel]  ->  the panels' rows

Sums of a convolution never leave the registers (simd/taps.py); products/requantise.py makes bytes of them there. A record of
a convolution is asked for only where its formula without a residual holds; the longer way is depthwise.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.jit import Kernel, inner, kernel, record
from engine.kernels.convolution.planes import BLOCK, Window, find_band, lay_channel, planes_of
from engine.kernels.layout import VECTOR_LANES
from engine.kernels.products.epilogue import epilogue_of
from engine.kernels.products.requantise import BIASED, PLAIN, REQUANTISE, biased, constants_of, plain
from engine.kernels.row import Array, aligned
from engine.kernels.simd.arithmetic import least, splat_i32
from engine.kernels.simd.bytes import largest_bytes
from engine.kernels.simd.memory import load_i32, read_i32, store_i32
from engine.kernels.simd.narrow import HAS_NARROWING, quads_of_pixels
from engine.kernels.simd.taps import (
    add_taps,
    first_of,
    four_of,
    fourth_of,
    load_channels_f32,
    load_channels_i32,
    second_of,
    third_of,
)

QUAD = 4
SLIDING = np.dtype(
    [
        (name, np.int64)
        for name in (
            "planes",  # address of a PLANES record, whose y is not used
            "offsets",  # address of int32 [taps]: bytes to pixel 0 of each tap, a multiple of four taps
            "taps",
            "w",  # int8 [quad][taps / 4][4 channels][4 taps]
            "start",  # address of int32 start[channel]
            "quads",  # fours of channels
            "pitch",  # numbers from row to row of a plane
            "height",  # of the result
            "width",
            "bands",  # of an image
            "band_rows",  # rows of the result in a band, whole vectors of pixels; the last has what is left
            "lane_pitch",  # lanes of the result from image to image
            "y",
            "y_panel",
            "row_bytes",
            "flat",  # places in scratch, behind the planes: quads [row][pitch]
            "line",  # quads [pixel]
            "copies",  # what lays out a quad's planes
            "epilogue",  # address of an EPILOGUE record, for its constants
        )
    ],
    align=True,
)
sliding_of = record(SLIDING)


# Bytes of the planes of a band, about: they, and the results, are written and read again.
_BAND_BYTES = 12 * 1024


def band_rows(window: Window) -> int:
    """Rows of the result in a band: all, or about as many as `_BAND_BYTES` hold, their pixels whole vectors."""
    height, width = window.result
    step = VECTOR_LANES // math.gcd(width, VECTOR_LANES)
    fitting = int(_BAND_BYTES / (4 * window.channel / height))
    return min(height, max(step, fitting // step * step))


@dataclass(frozen=True, slots=True)
class Places:
    """Places in a member's scratch behind the planes, and the bytes of all."""

    flat: int
    line: int
    copies: int
    size: int

    @classmethod
    def of(cls, window: Window, width: int) -> Places:
        """For the window of a band, over panels of a width."""
        flat = 4 * (window.channel + BLOCK)
        line = flat + 4 * (window.pitch * window.result[0] + BLOCK)
        copies = line + 4 * (math.prod(window.result) + window.pitch + BLOCK)
        return cls(flat, line, copies, copies + window.copies_bytes(width))


def pack_taps(w: Array) -> Array:
    """int8 w[c, taps] by fours of channels and taps: [c / 4][taps / 4][4][4], zeros beyond both ends."""
    channels, taps = w.shape
    fours, groups = -(-channels // QUAD), -(-taps // QUAD)
    full = np.zeros((fours * QUAD, groups * QUAD), np.int8)
    full[:channels, :taps] = w
    made = aligned((fours, groups, QUAD, QUAD), np.int8)
    made[:] = full.reshape(fours, QUAD, groups, QUAD).transpose(0, 2, 1, 3)
    return made


def _convolved(finished: Callable[..., Any]) -> Callable[..., None]:
    """What convolves a quad's planes, by a formula of requantise.py."""

    @inner
    def convolved(a: Any, x: int, quad: int, rows: int, flat: int) -> None:
        e = epilogue_of(a.epilogue)
        c, channel = constants_of(e), QUAD * quad
        scale = load_channels_f32(e.scale + 4 * channel)
        bias = load_channels_f32(e.bias + 4 * channel) if e.bias != 0 else scale
        start, none = four_of(load_channels_i32(a.start + 4 * channel)), splat_i32(0)
        weights, last = a.w + quad * 4 * a.taps, a.offsets + 4 * a.taps
        for at in range(0, 4 * rows * a.pitch, 64):
            sums, w, pixel = start, weights, x + at
            for taps in range(a.offsets, last, 16):
                x0, x1 = load_i32(pixel + read_i32(taps)), load_i32(pixel + read_i32(taps + 4))
                x2, x3 = load_i32(pixel + read_i32(taps + 8)), load_i32(pixel + read_i32(taps + 12))
                sums = add_taps(sums, load_channels_i32(w), x0, x1, x2, x3)
                w += 16
            quads = quads_of_pixels(
                finished(c, first_of(sums), scale, bias, none),
                finished(c, second_of(sums), scale, bias, none),
                finished(c, third_of(sums), scale, bias, none),
                finished(c, fourth_of(sums), scale, bias, none),
                c.zero_words,
                c.least,
                c.most,
            )
            store_i32(quads, flat + at)

    return convolved


@inner
def _largest(a: Any, x: int, _quad: int, rows: int, flat: int) -> None:
    for at in range(0, 4 * rows * a.pitch, 64):
        found = load_i32(x + at + read_i32(a.offsets))
        for tap in range(1, a.taps):
            found = largest_bytes(found, load_i32(x + at + read_i32(a.offsets + 4 * tap)))
        store_i32(found, flat + at)


@inner
def _put_together(a: Any, flat: int, rows: int, line: int) -> None:
    """Rows of `pitch` numbers to rows of `width`: what one writes too many the next writes over."""
    for row in range(rows):
        source, target = flat + 4 * row * a.pitch, line + 4 * row * a.width
        for at in range(0, 4 * a.width, 64):
            store_i32(load_i32(source + at), target + at)


@inner
def _to_panels(a: Any, line: int, place: int, lanes: int, quad: int) -> None:
    """Whole vectors of quads to the lanes from `place` on, as many as hold so many of them."""
    done, width = 0, a.row_bytes // 4
    while done < lanes:
        panel = (place + done) // width
        within = place + done - panel * width
        run = least(width - within, lanes - done)
        y = a.y + panel * a.y_panel + quad * a.row_bytes + 4 * within
        for at in range(0, 4 * run, 64):
            store_i32(load_i32(line + 4 * done + at), y + at)
        done += run


def _sliding(family: str, seen: Callable[..., None]) -> Kernel:
    @kernel(family, "4x16")
    def slide(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = sliding_of(args)
        p = planes_of(a.planes)
        flat, line, copies, last, count = scratch + a.flat, scratch + a.line, scratch + a.copies, -1, 0
        for index in range(tile_begin, tile_end):
            part = index // a.quads
            quad, image = index - part * a.quads, part // a.bands
            above = (part - image * a.bands) * a.band_rows
            rows = least(a.band_rows, a.height - above)
            if part != last:
                count = find_band(p, image, above, copies)
                last = part
            lay_channel(p, quad, scratch, copies, count)
            seen(a, scratch, quad, rows, flat)
            _put_together(a, flat, rows, line)
            _to_panels(a, line, image * a.lane_pitch + above * a.width, rows * a.width, quad)

    return slide


_FORMULAS = {PLAIN: ("depthwise_quads", plain), BIASED: ("depthwise_quads_biased", biased)}
# By the finisher that would do the same to sums; none where the machine lacks the packs.
DEPTHWISE_QUADS: dict[object, Kernel] = {
    REQUANTISE[formula]: _sliding(family, _convolved(finished))
    for formula, (family, finished) in (_FORMULAS.items() if HAS_NARROWING else ())
}
LARGEST_QUADS = _sliding("largest_quads", _largest)
