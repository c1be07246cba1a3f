"""Normalisation of groups of channels over all pixels of an image: f32 panels to f32 panels, in three steps.

    part       mean and sum of squares around it, of each lane, for up to PART vectors of pixels and each channel
    combine    these together: mean, and gain over the root of the variance, for each image and channel
    apply      y = activation((x - mean) * factor + bias)

Sums are of differences from means nearby, so that nothing cancels; means of parts are added with what each addition
rounds away. Pixels beyond the last whole vector are a part of their own, of which only so many lanes count. What a
part is depends on the image's size alone, and so do all roundings.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.products.activators import activate
from engine.kernels.simd.arithmetic import fused_multiply_add, least, splat_f32
from engine.kernels.simd.memory import load_f32, read_f32, read_i64, store_f32, write_f32, write_i64
from engine.kernels.simd.sums import exactly_added, finite_rest

# Vectors of pixels of a part, and rows of a tile.
PART = 16
BAND = 16
# Bytes of a part's numbers for one channel: sixteen means, sixteen sums of squares.
_ONE = 128
SCRATCH = 8 * PART + _ONE

GROUP_NORM = np.dtype(
    [
        *((name, np.int64) for name in ("x", "x_panel", "y", "y_panel", "row_bytes", "k", "pitch", "images")),
        *(
            (name, np.int64) for name in ("whole", "tail", "parts", "bands")
        ),  # whole vectors, lanes of the last
        ("moments", np.int64),  # [image][part][channel][2][16]
        ("factors", np.int64),  # [image][channel][2]: mean and factor
        *((name, np.int64) for name in ("gain", "bias", "groups", "activator", "epilogue")),
        ("epsilon", np.float32),
    ],
    align=True,
)
group_norm_of = record(GROUP_NORM)


@inner
def _vectors_of(a: Any, part: int) -> int:
    """Vectors of a part; the last is one vector, where lanes are left."""
    return least(PART, a.whole - part * PART) if part * PART < a.whole else 1


@inner
def _point(a: Any, image: int, first: int, count: int, scratch: int) -> None:
    """Where the vectors of a part lie, in row 0."""
    vectors = a.row_bytes // 64
    for i in range(count):
        vector = image * (a.pitch // 16) + first + i
        panel = vector // vectors
        write_i64(a.x + panel * a.x_panel + (vector - panel * vectors) * 64, scratch + 8 * i)


@inner
def _part_moments(count: int, offset: int, y: int, scratch: int) -> None:
    """Mean and squares of one row of a part."""
    total = splat_f32(np.float32(0))
    for i in range(count):
        total = total + load_f32(read_i64(scratch + 8 * i) + offset)
    mean = total * splat_f32(np.float32(1) / np.float32(count))
    squares = splat_f32(np.float32(0))
    for i in range(count):
        apart = load_f32(read_i64(scratch + 8 * i) + offset) - mean
        squares = fused_multiply_add(apart, apart, squares)
    store_f32(mean, y)
    store_f32(squares, y + 64)


@kernel("group_norm_parts", f"{BAND}x{PART}")
def find_parts(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A band of rows of one part a tile."""
    a = group_norm_of(args)
    for index in range(tile_begin, tile_end):
        place = index // a.bands
        first = (index - place * a.bands) * BAND
        image = place // a.parts
        part = place - image * a.parts
        count = _vectors_of(a, part)
        start = part * PART if part * PART < a.whole else a.whole
        _point(a, image, start, count, scratch)
        for row in range(first, least(first + BAND, a.k)):
            _part_moments(count, row * a.row_bytes, a.moments + (place * a.k + row) * _ONE, scratch)


@inner
def _lanes_sum(total: Any, rest: Any, scratch: int) -> Any:
    store_f32(total, scratch)
    store_f32(finite_rest(rest), scratch + 64)
    whole = np.float64(0)
    for at in range(0, _ONE, 4):
        whole += np.float64(read_f32(scratch + at))
    return whole


@inner
def _group_mean(a: Any, moments: int, channels: int, pixels: int, scratch: int) -> Any:
    """The mean over a group: `moments` are those of its first channel in the first part."""
    total, rest, left = splat_f32(np.float32(0)), splat_f32(np.float32(0)), np.float64(0)
    for part in range(a.parts):
        weight = splat_f32(np.float32(_vectors_of(a, part)))
        for channel in range(channels):
            at = moments + (part * a.k + channel) * _ONE
            if part * PART < a.whole:
                total, rest = exactly_added(total, rest, load_f32(at) * weight)
            else:
                for lane in range(a.tail):
                    left += np.float64(read_f32(at + 4 * lane))
    return (_lanes_sum(total, rest, scratch) + left) / (np.float64(pixels) * np.float64(channels))


@inner
def _group_variance(a: Any, moments: int, channels: int, pixels: int, mean: Any, scratch: int) -> Any:
    """The variance over a group, around its mean."""
    total, rest, left = splat_f32(np.float32(0)), splat_f32(np.float32(0)), np.float64(0)
    centre = splat_f32(np.float32(mean))
    for part in range(a.parts):
        weight = splat_f32(np.float32(_vectors_of(a, part)))
        for channel in range(channels):
            at = moments + (part * a.k + channel) * _ONE
            if part * PART < a.whole:
                apart = load_f32(at) - centre
                squares = fused_multiply_add(apart * apart, weight, load_f32(at + 64))
                total, rest = exactly_added(total, rest, squares)
            else:
                for lane in range(a.tail):
                    one = np.float64(read_f32(at + 4 * lane)) - np.float64(mean)
                    left += one * one
    return (_lanes_sum(total, rest, scratch) + left) / (np.float64(pixels) * np.float64(channels))


@kernel("group_norm_combine")
def combine(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """One group of one image a tile."""
    a = group_norm_of(args)
    channels, pixels = a.k // a.groups, 16 * a.whole + a.tail
    for index in range(tile_begin, tile_end):
        image = index // a.groups
        first = (index - image * a.groups) * channels
        moments = a.moments + (image * a.parts * a.k + first) * _ONE
        mean = _group_mean(a, moments, channels, pixels, scratch)
        variance = _group_variance(a, moments, channels, pixels, mean, scratch)
        inverse = np.float32(1.0 / math.sqrt(variance + np.float64(a.epsilon)))
        for channel in range(first, first + channels):
            y = a.factors + (image * a.k + channel) * 8
            write_f32(np.float32(mean), y)
            write_f32(inverse * read_f32(a.gain + 4 * channel), y + 4)


@inner
def _apply_vector(a: Any, x: int, y: int, factors: int, first: int, last: int) -> None:
    for row in range(first, last):
        at, values = row * a.row_bytes, factors + row * 8
        mean, factor = splat_f32(read_f32(values)), splat_f32(read_f32(values + 4))
        bias = splat_f32(read_f32(a.bias + 4 * row))
        store_f32(fused_multiply_add(load_f32(x + at) - mean, factor, bias), y + at)


@kernel("group_norm_apply", f"{BAND}x64")
def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A band of rows of one panel a tile."""
    a = group_norm_of(args)
    for index in range(tile_begin, tile_end):
        panel = index // a.bands
        first = (index - panel * a.bands) * BAND
        last, y = least(first + BAND, a.k), a.y + panel * a.y_panel
        for lane in range(0, a.row_bytes, 64):
            # Behind the last image lie lanes that nobody reads; they must be finite.
            image = least((panel * a.row_bytes + lane) // (4 * a.pitch), a.images - 1)
            x = a.x + panel * a.x_panel + lane
            _apply_vector(a, x, y + lane, a.factors + image * a.k * 8, first, last)
        if a.activator != 0:
            activate(a.activator, a.epilogue, y + first * a.row_bytes, y + last * a.row_bytes)
