"""Products of float32 activations with weights that are stored in 8 or 4 bits.

    x ── MatMul ── y                                        x ── weight_only_linear(W, s, z) ── y
    W i8 ── DequantizeLinear(s, z) ──┘              =>

    W i8 ── Cast ── Sub(z)? ── Mul(s) ── MatMul     =>      the same

Gemm alike. Scales may be one for all, one a row of the result, or one for each block of k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from engine.graph import Array, Node, Uses, Value, constant, node, rule
from engine.graph.pattern import either_way, first_input, is_op, operands, row_constant

_BYTES = (np.dtype(np.int8), np.dtype(np.uint8))


@dataclass(frozen=True)
class FewBitsMatrix:
    """A constant matrix of 8-bit numbers: `axes` "km" or "mk"; scale and zero [m, blocks]; blocks of `block` features."""

    value: Value
    axes: str
    scale: Value
    zero: Value
    block: int

    @property
    def outputs(self) -> int:
        return self.value.shape[self.axes.index("m")]


# Graphs bound from one model share constant nodes. So must what is made of them: packed weights are found by the
# identity of the array.
_made: WeakKeyDictionary[Node, dict[tuple[Value | int | None, ...], tuple[Value, Value]]] = (
    WeakKeyDictionary()
)


def few_bits_matrix(value: Value, *, transposed: bool = False) -> FewBitsMatrix | None:
    """The dequantised matrix that a product reads as [k, m] (or, transposed, as [m, k]); else None."""
    flips = transposed
    if is_op(value, "Transpose") and tuple(value.node.attrs["perm"]) == (1, 0):
        value, flips = first_input(value), not flips
    axes = "mk" if flips else "km"
    if is_op(value, "DequantizeLinear"):
        return _dequantised(value, axes)
    return _scaled(value, axes) if is_op(value, "Mul") else None


def _dequantised(value: Value, axes: str) -> FewBitsMatrix | None:
    stored, scale, zero = (*value.node.inputs, None)[:3]
    if stored is None or scale is None or scale.array is None or (zero is not None and zero.array is None):
        return None
    if scale.dtype != np.float32 or not _is_byte_matrix(stored):
        return None
    block = value.node.attrs.get("block_size") or 0
    along = axes[value.node.attrs["axis"]]
    if along != ("k" if block else "m") and (block or scale.array.size > 1):
        return None
    return _matrix(stored, axes, scale, zero, block)


def _scaled(value: Value, axes: str) -> FewBitsMatrix | None:
    for shifted, scale in either_way(value.node):
        numbers, zero = operands(shifted.node) if is_op(shifted, "Sub") else (shifted, None)
        if not is_op(numbers, "Cast") or scale.array is None or not _is_byte_matrix(first_input(numbers)):
            continue
        stored = first_input(numbers)
        if value.dtype != np.float32 or value.shape != stored.shape:
            return None
        along = axes.index("m")
        if not _is_along(scale.array, stored, along) or not (
            zero is None or (zero.array is not None and _is_along(zero.array, stored, along))
        ):
            return None
        return _matrix(stored, axes, scale, zero, 0)
    return None


def _is_byte_matrix(value: Value) -> bool:
    return (
        value.array is not None and value.dtype in _BYTES and len(value.shape) == 2 and value.array.size > 0
    )


def _is_along(parameter: Array, stored: Value, axis: int) -> bool:
    """Whether a scale or zero point, as it is broadcast, is one number or one for each place of `axis`."""
    shape = (1,) * (2 - parameter.ndim) + parameter.shape
    return parameter.ndim <= 2 and shape[1 - axis] == 1 and shape[axis] in (1, stored.shape[axis])


def _matrix(stored: Value, axes: str, scale: Value, zero: Value | None, block: int) -> FewBitsMatrix | None:
    m, k = (stored.shape[axes.index(name)] for name in "mk")
    blocks = -(-k // block) if block else 1
    known = _made.setdefault(stored.node, {})
    key = (scale, zero, block, axes.index("m"))
    if key not in known:
        zeros = np.zeros((), stored.dtype) if zero is None or zero.array is None else zero.array
        if scale.array is None or not _is_of(zeros, stored.dtype):
            return None
        parts = (scale.array.astype(np.float32), zeros.astype(stored.dtype))
        turned = [part.T if block and axes == "km" else part for part in parts]
        rows = [_rows(part, m, blocks) for part in turned]
        known[key] = (constant(rows[0], stored.node.name), constant(rows[1], stored.node.name))
    return FewBitsMatrix(stored, axes, *known[key], block or k)


def _is_of(zeros: Array, dtype: np.dtype[Any]) -> bool:
    """Whether these are whole numbers that the type can hold."""
    limits = np.iinfo(dtype)
    return bool(np.all((zeros == np.rint(zeros)) & (zeros >= limits.min) & (zeros <= limits.max)))


def _rows(parameter: Array, m: int, blocks: int) -> Array:
    """A scale or zero point as [m, blocks]."""
    whole = parameter.reshape((m, blocks) if parameter.size == m * blocks else (1, 1))
    return np.ascontiguousarray(np.broadcast_to(whole, (m, blocks)))


def _product(x: Value, weights: FewBitsMatrix, bias: Value | None, name: str) -> Value:
    attrs = {"weight_axes": weights.axes, "block": weights.block, "activation": "none", "store": None}
    return node(
        "weight_only_linear", x, weights.value, weights.scale, weights.zero, bias, name=name, **attrs
    )[0]


@rule("MatMul")
def weight_only_product(product: Node, _uses: Uses) -> Value | None:
    """A product whose second operand is a constant of few bits, dequantised."""
    x, w = operands(product)
    weights = few_bits_matrix(w)
    if weights is None or x.dtype != np.float32 or x.type.shape is None or len(x.shape) == 0:
        return None
    return _product(x, weights, None, product.name)


@rule("Gemm")
def weight_only_gemm(gemm: Node, _uses: Uses) -> Value | None:
    """The same for Gemm without factors, its third operand a row or absent."""
    attrs, x, w = gemm.attrs, first_input(gemm[0]), gemm.inputs[1]
    bias = gemm.inputs[2] if len(gemm.inputs) > 2 else None
    weights = None if w is None else few_bits_matrix(w, transposed=bool(attrs["transB"]))
    if weights is None or x.dtype != np.float32 or x.type.shape is None:
        return None
    if attrs["transA"] or attrs["alpha"] != 1 or (bias is not None and attrs["beta"] != 1):
        return None
    row = row_constant(bias, weights.outputs)
    if bias is not None and row is None:
        return None
    return _product(x, weights, None if row is None else constant(row, gemm.name), gemm.name)


RULES = (weight_only_product, weight_only_gemm)
