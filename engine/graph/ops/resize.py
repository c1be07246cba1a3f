"""Resize: each place of the result lies at, or between, places of the source, one axis after the other.

Resize(x[b, c, *size])                attrs: shape, scales (a number per axis), coordinate_transformation_mode,
    mode ("nearest", "linear"), nearest_mode
resize_pixels(x[b, p, c], ...)        y[b, p', c]: the sum of images with the features last, each brought to the size of
    the result.    attrs: resizings (one `Resizing` an input)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import FLOAT32, Attrs, Inputs, Op, Shape, first_dtype, given, need
from engine.graph.ops.arithmetic import MANY


@dataclass(frozen=True)
class Resizing:
    """From an image of size `before` to one of size `after`, the other fields being Resize's for these axes."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    scales: tuple[float, ...]
    coordinate_transformation_mode: str
    mode: str
    nearest_mode: str

    def attrs(self) -> Attrs:
        """As attributes of a Resize of pixels [b, *before, c]."""
        own = vars(self)
        return {**own, "shape": (0, *self.after, 0), "scales": (1.0, *self.scales, 1.0)}

    def places(self, axis: int) -> tuple[Array, Array, Array]:
        """`places_along` one of these axes."""
        return places_along(self.attrs(), 1 + axis, self.before[axis])


def places_along(attrs: Attrs, axis: int, before: int) -> tuple[Array, Array, Array]:
    """Two places of the source for each of the result along an axis of `before` places, and the second one's share."""
    size, scale = attrs["shape"][axis], attrs["scales"][axis]
    if size == before and scale == 1:
        same = np.arange(size)
        return same, same, np.zeros(size, np.float32)
    position = _positions(attrs["coordinate_transformation_mode"], size, before, scale)
    if attrs["mode"] == "nearest":
        place = np.clip(_nearest(attrs["nearest_mode"], position), 0, before - 1)
        return place, place, np.zeros(size, np.float32)
    low = np.floor(position)
    first, second = (np.clip(place, 0, before - 1).astype(np.int64) for place in (low, low + 1))
    return first, second, (position - low).astype(np.float32)


def _positions(transformation: str, size: int, before: int, scale: float) -> Array:
    out = np.arange(size, dtype=np.float64)
    return {
        "asymmetric": out / scale,
        "half_pixel": (out + 0.5) / scale - 0.5,
        "pytorch_half_pixel": (out + 0.5) / scale - 0.5 if size > 1 else out * 0,
        "align_corners": out * (before - 1) / (size - 1) if size > 1 else out * 0,
    }[transformation]


def _nearest(rounding: str, position: Array) -> Array:
    return {
        "floor": np.floor(position),
        "ceil": np.ceil(position),
        "round_prefer_floor": np.ceil(position - 0.5),
        "round_prefer_ceil": np.floor(position + 0.5),
    }[rounding].astype(np.int64)


def _along(attrs: Attrs, x: Array, axis: int) -> Array:
    low, high, share = places_along(attrs, axis, x.shape[axis])
    if attrs["mode"] == "nearest":
        return np.take(x, low, axis)
    if len(low) == x.shape[axis] and not share.any():
        return x
    part = share.reshape(-1, *(1,) * (x.ndim - axis - 1))
    return np.asarray(np.take(x, low, axis) * (1 - part) + np.take(x, high, axis) * part)


def _resize(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    for axis in range(x.ndim):
        x = _along(attrs, x, axis)
    return (x,)


def _resize_pixels(attrs: Attrs, *sources: Array) -> tuple[Array, ...]:
    total: Array = np.zeros((), np.float32)
    for x, resizing in zip(sources, attrs["resizings"], strict=True):
        y = x.reshape(x.shape[0], *resizing.before, x.shape[2])
        for axis in range(len(resizing.before)):
            y = _along(resizing.attrs(), y, 1 + axis)
        total = total + y.reshape(x.shape[0], -1, x.shape[2])
    return (total,)


def _resize_pixels_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    resizings, first = attrs["resizings"], given(inputs, 0)
    need(len(resizings) == len(inputs), "each input has its resizing")
    need(len({resizing.after for resizing in resizings}) == 1, "all results have one size")
    for place, resizing in enumerate(resizings):
        wanted = (first.shape[0], math.prod(resizing.before), first.shape[-1])
        need(given(inputs, place).shape == wanted, f"input {place} is no image of {list(resizing.before)}")
        need(given(inputs, place).dtype == FLOAT32, "images are float32")
    return ((first.shape[0], math.prod(resizings[0].after), first.shape[2]),)


ROWS = (
    Op("Resize", _resize, first_dtype, lambda attrs, _inputs: (tuple(attrs["shape"]),)),
    Op(
        "resize_pixels",
        _resize_pixels,
        first_dtype,
        _resize_pixels_shape,
        (1, MANY),
        attributes=frozenset({"resizings"}),
    ),
)
