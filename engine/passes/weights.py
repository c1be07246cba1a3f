"""Finding the constant matrix of a product: which array, which way round, which zero point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.graph import Array, Value
from engine.graph.pattern import first_input, is_op


@dataclass(frozen=True)
class Matrix:
    """A constant matrix as it is stored: `axes` is "km" or "mk" for k inputs and m outputs."""

    value: Value
    axes: str

    @property
    def outputs(self) -> int:
        """m, the number of results of a row."""
        return self.value.shape[self.axes.index("m")]


@dataclass(frozen=True)
class QuantisedMatrix(Matrix):
    """A matrix of 8-bit weights: w = (value - zero_point) * scale, scale float32 [1] or [m]."""

    zero_point: int
    scale: Array


def float_matrix(value: Value, *, transposed: bool = False) -> Matrix | None:
    """The f32 matrix that a product reads as [k, m] (or, transposed, as [m, k]); else None."""
    flips = transposed
    if is_op(value, "Transpose") and tuple(value.node.attrs["perm"]) == (1, 0):
        value, flips = first_input(value), not flips
    if value.array is None or value.dtype != np.float32 or len(value.shape) != 2:
        return None
    return Matrix(value, "mk" if flips else "km")


def quantised_matrix(value: Value, *, transposed: bool = False) -> QuantisedMatrix | None:
    """The dequantised 8-bit matrix that a product reads; None where it is none, or is quantised along k."""
    flips = transposed
    if is_op(value, "Transpose") and tuple(value.node.attrs["perm"]) == (1, 0):
        value, flips = first_input(value), not flips
    if not is_op(value, "DequantizeLinear") or value.node.attrs.get("block_size"):
        return None
    source, scales, *zeros = (None if entry is None else entry.array for entry in value.node.inputs)
    stored = first_input(value)
    if source is None or scales is None or source.ndim != 2 or scales.dtype != np.float32:
        return None
    axes = "mk" if flips else "km"
    if scales.size > 1 and axes[value.node.attrs["axis"]] != "m":
        return None
    zero_point = common_zero(stored, zeros[0] if zeros else None)
    if zero_point is None:
        return None
    return QuantisedMatrix(stored, axes, zero_point, scales.reshape(-1))


def common_zero(weights: Value, zeros: Array | None) -> int | None:
    """The one zero point of 8-bit weights, if there is one that leaves w - zero_point within [-128, 127]."""
    array = weights.array
    if array is None or array.dtype not in (np.int8, np.uint8):
        return None
    offsets = np.zeros(1, np.int32) if zeros is None else zeros.astype(np.int32).reshape(-1)
    if offsets.size == 0 or np.any(offsets != offsets[0]):
        return None
    zero_point = int(offsets[0])
    if zero_point == (0 if array.dtype == np.int8 else 128):
        return zero_point
    low, high = (int(array.min()), int(array.max())) if array.size else (zero_point, zero_point)
    return zero_point if low - zero_point >= -128 and high - zero_point <= 127 else None
