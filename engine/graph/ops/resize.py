"""Resize: each place of the result lies at, or between, places of the source, one axis after the other.

attrs: shape, scales (a number per axis), coordinate_transformation_mode, mode ("nearest", "linear"), nearest_mode
"""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import Attrs, Op, first_dtype


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


def _resize(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    for axis in range(x.ndim):
        low, high, share = places_along(attrs, axis, x.shape[axis])
        if attrs["mode"] == "nearest":
            x = np.take(x, low, axis)
        elif len(low) != x.shape[axis] or share.any():
            part = share.reshape(-1, *(1,) * (x.ndim - axis - 1))
            x = np.take(x, low, axis) * (1 - part) + np.take(x, high, axis) * part
    return (x,)


ROWS = (Op("Resize", _resize, first_dtype, lambda attrs, _inputs: (tuple(attrs["shape"]),)),)
