"""Following an operand of an attention product back to the value whose heads were split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.graph import Value, constant, node
from engine.graph.pattern import first_input, is_op, operands, scalar, with_scalar
from engine.passes.quantisation import Quantisation, rounding

# Where axes [b, s, h, d] of the split stand in what the product reads.
ROWS = (0, 2, 1, 3)
COLUMNS = (0, 2, 3, 1)


@dataclass(frozen=True)
class Operand:
    """One operand of a product of activations: f32, or 8-bit numbers meant as (q - zero_point) * scale."""

    value: Value
    quantisation: Quantisation | None


@dataclass(frozen=True)
class Product:
    """left times right times multiplier; the scales of quantised operands are in the multiplier already."""

    left: Operand
    right: Operand
    multiplier: float


@dataclass(frozen=True)
class Split:
    """A value [b, s, heads * d] before its heads were split, and the number that scales all its elements.

    `repeated` is how often each head stands beside itself in the product, where heads share keys.
    `leaf` is what the graph as it stands splits; `source` may bring it into shape with new nodes.
    """

    leaf: Value
    source: Value
    heads: int
    multiplier: float
    repeated: int = 1


def product_of(value: Value) -> Product | None:
    """The product of two activations that computes `value`, in floating point or in integers; else None."""
    if is_op(value, "MatMul"):
        left, right = (_operand(entry) for entry in operands(value.node))
        scales = [float(side.quantisation.scale) for side in (left, right) if side.quantisation is not None]
        if len(scales) == 1:
            return None
        return Product(left, right, float(np.prod(scales)))
    found = with_scalar(value.node) if is_op(value, "Mul") else None
    if found is None or not is_op(found[0], "Cast") or value.dtype != np.float32:
        return None
    sums = first_input(found[0])
    if not is_op(sums, "MatMulInteger") or len(sums.node.inputs) != 4:
        return None
    left_q, right_q = (
        _integer_operand(sums.node.inputs[side], sums.node.inputs[side + 2]) for side in (0, 1)
    )
    return None if left_q is None or right_q is None else Product(left_q, right_q, found[1])


def _operand(value: Value) -> Operand:
    found = rounding(value)
    return Operand(value, None) if found is None else Operand(found[0], found[1])


def _integer_operand(value: Value | None, zero: Value | None) -> Operand | None:
    if value is None or not is_op(value, "quantize"):
        return None
    attrs = value.node.attrs
    if scalar(zero) != attrs["zero_point"]:
        return None
    return Operand(first_input(value), Quantisation(attrs["scale"], attrs["zero_point"]))


def scaling(value: Value) -> tuple[Value, float] | None:
    """The operand and the factor, if `value` is a product or quotient with a constant number; else None."""
    if is_op(value, "Mul"):
        return with_scalar(value.node)
    if is_op(value, "Div"):
        x, divisor = operands(value.node)
        number = scalar(divisor)
        if number and x.type == value.type:
            return x, 1.0 / number
    return None


def _moved(value: Value, perm: tuple[int, ...]) -> tuple[Value, tuple[int, ...]] | None:
    """What a Transpose reads, and how its axes lie in what was asked for."""
    if not is_op(value, "Transpose"):
        return None
    inner = value.node.attrs["perm"]
    return first_input(value), tuple(inner[axis] for axis in perm)


def split_heads(operand: Operand, layout: tuple[int, ...]) -> Split | None:
    """Follow transposes, scalings and repetition from an operand laid out as `layout` to the split of its heads."""
    value, multiplier, repeated = operand.value, 1.0, 1
    perm = tuple(range(len(value.shape)))
    scalings: list[Value] = []
    shared = _before_repetition(value)
    while shared is not None or not is_op(value, "Reshape"):
        scaled, moved = scaling(value), _moved(value, perm)
        if shared is not None:
            value, repeated = shared[0], repeated * shared[1]
        elif scaled is not None:
            scalings.append(value)
            multiplier *= scaled[1]
            value = scaled[0]
        elif moved is not None:
            value, perm = moved
        else:
            return None
        shared = _before_repetition(value)
    if perm != layout or len(value.shape) != 4:
        return None
    return _split(value, operand, scalings, multiplier, repeated)


def _split(
    value: Value, operand: Operand, scalings: list[Value], multiplier: float, repeated: int
) -> Split | None:
    """The split that the Reshape `value` [b, s, h, d] is."""
    leaf = source = first_input(value)
    batch, length, heads, depth = value.shape
    if source.shape[-1:] != (heads * depth,):
        return None
    if source.shape != (batch, length, heads * depth):
        source = node("Reshape", source, name=value.node.name, shape=(batch, length, heads * depth))[0]
    if operand.quantisation is not None:
        # Rounding comes after the scaling, so the scaling stays in front of it.
        for step in reversed(scalings):
            source = _rescaled(step, source)
        multiplier = 1.0
    return Split(leaf, source, heads, multiplier, repeated)


def _before_repetition(value: Value) -> tuple[Value, int] | None:
    """x[b, h, s, d] and r, if `value` is x with each head r times beside itself.

    x ── Reshape[b, h, 1, s, d] ── Expand[b, h, r, s, d] ── Reshape[b, h * r, s, d] ── value
    """
    wide = first_input(value) if is_op(value, "Reshape") and len(value.shape) == 4 else None
    if wide is None or not is_op(wide, "Expand") or len(wide.shape) != 5:
        return None
    x = first_input(first_input(wide)) if is_op(first_input(wide), "Reshape") else None
    batch, heads, times, length, depth = wide.shape
    if x is None or x.type.shape != (batch, heads, length, depth):
        return None
    if first_input(wide).shape != (batch, heads, 1, length, depth):
        return None
    return (x, times) if value.shape == (batch, heads * times, length, depth) else None


def _rescaled(step: Value, source: Value) -> Value:
    """The product or quotient `step` is, of `source`; the number as a scalar, which adds no axes to it."""
    arrays = [value.array for value in step.node.inputs if value is not None]
    number = next(array for array in arrays if array is not None)
    return node(step.op, source, constant(number.reshape(())), name=step.node.name)[0]
