"""Depthwise convolution: every result sees one channel, so a row of taps is all its weights.

A tile is four channels of an image: their padded planes are laid out in scratch, where the sums follow them.

    float32    four planes; 3 x 3 at stride 1: four rows of the result at once, so that a vector is read for three taps
    bytes      one plane of quads; of a quad of weights one byte is not zero, which gives a channel's exact int32 sum

    planes (padded)  ->  sums [row][pitch]  ->  sums [channel][lane]  ->  epilogue
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.jit import Kernel, active_level, inner, kernel, record
from engine.kernels.convolution.lanes import copy_exactly
from engine.kernels.convolution.planes import BLOCK, Window, find_copies, lay_channel, planes_of
from engine.kernels.products.epilogue import epilogue_of
from engine.kernels.products.finishers import finish_lanes
from engine.kernels.row import Array, aligned
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import load_f32, read_i32, store_f32
from engine.kernels.simd.tile import tile_operations

CHANNELS = 4
DEPTHWISE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "planes",  # address of a PLANES record, whose y is not used
            "offsets",  # address of int32 [taps]: bytes to pixel 0 of each tap
            "taps",
            "w",  # [channel][tap]: float32, or quads of int8
            "start",  # address of int32 start[channel], for bytes
            "quads",  # fours of channels
            "pitch",  # numbers from row to row of a plane
            "height",  # of the result
            "width",
            "lane_pitch",  # lanes of the result from image to image
            "sums",  # place of the sums in scratch
            "flat",  # place of one channel's sums, before its rows are put together
            "copies",  # place of what lays out a channel's planes
            "epilogue",
        )
    ],
    align=True,
)
depthwise_of = record(DEPTHWISE)

# Sums, one load and a broadcast must fit the registers.
_VECTORS = 4 if active_level().registers * active_level().width > 16 * 16 else 2


@dataclass(frozen=True, slots=True)
class Scratch:
    """Places in a member's scratch behind the planes, and the bytes of all."""

    sums: int
    flat: int
    copies: int
    size: int

    @classmethod
    def of(cls, window: Window, lane_pitch: int, width: int) -> Scratch:
        """For results of so many lanes, from panels of a width."""
        sums = CHANNELS * 4 * window.channel + 4 * BLOCK
        flat = sums + CHANNELS * 4 * (lane_pitch + BLOCK)
        copies = flat + 4 * (window.pitch * window.result[0] + 3 * BLOCK)
        return cls(sums, flat, copies, copies + window.copies_bytes(width))


def pack_quads(w: Array) -> Array:
    """int8 w[c, taps] as quads [c][tap][4], of which byte c % 4 holds the weight."""
    channels, taps = w.shape
    made = aligned((channels + CHANNELS, taps, 4), np.int8)
    made[np.arange(channels), :, np.arange(channels) % 4] = w
    return made


@inner
def _put_together(a: Any, flat: int, y: int) -> None:
    """Rows of `pitch` numbers to rows of `width`, one behind the other."""
    for row in range(a.height - 1):
        for at in range(0, a.width, 16):
            store_f32(load_f32(flat + 4 * (row * a.pitch + at)), y + 4 * (row * a.width + at))
    row = a.height - 1
    copy_exactly(flat + 4 * row * a.pitch, y + 4 * row * a.width, a.width)


def _depthwise(kind: str) -> Kernel:
    tile = tile_operations(1, _VECTORS, kind)
    zero, spread, step, save = tile.zero, tile.spread, tile.step, tile.save
    integer = kind == "u8s8"

    @inner
    def flat_sums(a: Any, x: int, channel: int, flat: int) -> None:
        weights = a.w + 4 * channel * a.taps
        for at in range(0, 4 * a.height * a.pitch, 64 * _VECTORS):
            sums = spread(a.start + 4 * channel, 4) if integer else zero()
            for tap in range(a.taps):
                sums = step(sums, weights + 4 * tap, 4, x + at + read_i32(a.offsets + 4 * tap))
            save(sums, flat + at, 0)

    return _kernel(kind, integer, flat_sums)


def _kernel(kind: str, integer: bool, flat_sums: Callable[..., None]) -> Kernel:
    @kernel(f"depthwise_{kind}", f"1x{16 * _VECTORS}")
    def convolve(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = depthwise_of(args)
        p, e = planes_of(a.planes), epilogue_of(a.epilogue)
        sums, flat, copies = scratch + a.sums, scratch + a.flat, scratch + a.copies
        stride, width, last, count = 4 * (a.lane_pitch + 64), e.row_bytes // 4, -1, 0
        for index in range(tile_begin, tile_end):
            image = index // a.quads
            first = CHANNELS * (index - image * a.quads)
            if image != last:
                count = find_copies(p, image, copies)
                last = image
            if integer:
                lay_channel(p, first // CHANNELS, scratch, copies, count)
            for part in range(least(CHANNELS, e.m - first)):
                channel, x = first + part, scratch
                if not integer:
                    x += part * p.channel_bytes
                    lay_channel(p, channel, x, copies, count)
                flat_sums(a, x, channel, flat)
                _put_together(a, flat, sums + part * stride)
            lane = 0
            while lane < a.lane_pitch:
                place = image * a.lane_pitch + lane
                lanes = least(width - place % width, a.lane_pitch - lane)
                finish_lanes(a.epilogue, sums + 4 * lane, stride, first, CHANNELS, place, lanes)
                lane += lanes

    return convolve


DEPTHWISE_F32, DEPTHWISE_U8 = _depthwise("f32"), _depthwise("u8s8")
