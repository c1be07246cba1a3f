"""Finding the constant matrix of a product: which array, which way round, which zero point."""

from __future__ import annotations

from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from engine.graph import Array, Node, Value, constant
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
    """A matrix of 8-bit weights: w = (value - zero_point + rest) * scale, scale float32 [1] or [m].

    `rest` is there where value - zero_point alone would not fit 8 bits.
    """

    zero_point: int
    scale: Array
    rest: Value | None = None


# Graphs bound from one model share constant nodes. So must what is made of them: packed weights are found by the
# identity of the array.
_parted: WeakKeyDictionary[Node, dict[int, tuple[Value, Value]]] = WeakKeyDictionary()


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
    return byte_matrix(stored, axes, zeros[0] if zeros else None, scales.reshape(-1))


def byte_matrix(stored: Value, axes: str, zeros: Array | None, scale: Array) -> QuantisedMatrix | None:
    """The matrix of these 8-bit numbers; None where they have several zero points or are no 8-bit numbers."""
    array = stored.array
    if array is None or array.dtype not in (np.int8, np.uint8):
        return None
    zero_point = _common_zero(zeros)
    if zero_point is None:
        return None
    matrix = QuantisedMatrix(stored, axes, zero_point, scale)
    if zero_point == (0 if array.dtype == np.int8 else 128) or _fits(array, zero_point, -128, 127):
        return matrix
    # Two bytes together reach from -256 to 254.
    if not _fits(array, zero_point, -255, 254):
        return None
    known = _parted.setdefault(stored.node, {})
    if zero_point not in known:
        known[zero_point] = _parts(array, zero_point, stored.node.name)
    value, rest = known[zero_point]
    return replace(matrix, value=value, rest=rest, zero_point=0)


def _fits(array: Array, zero_point: int, low: int, high: int) -> bool:
    if not array.size:
        return True
    return int(array.min()) - zero_point >= low and int(array.max()) - zero_point <= high


def _parts(array: Array, zero_point: int, name: str) -> tuple[Value, Value]:
    whole = array.astype(np.int16) - zero_point
    near = np.clip(whole, -128, 127)
    return constant(near.astype(np.int8), name), constant((whole - near).astype(np.int8), name)


def _common_zero(zeros: Array | None) -> int | None:
    offsets = np.zeros(1, np.int32) if zeros is None else zeros.astype(np.int32).reshape(-1)
    if offsets.size == 0 or np.any(offsets != offsets[0]):
        return None
    return int(offsets[0])
