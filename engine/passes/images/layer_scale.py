"""A factor for each feature of a product belongs to its weights: layer scale (Touvron et al. 2021), folded normalisations.

    x ── MatMul(W) ── Add(b) ── Mul(f[m]) ── y    =>    x ── MatMul(W * f) ── Add(b * f) ── y

Rounded once. Weights that are quantised already keep their numbers, and one factor for all is left to whom it belongs.
"""

from __future__ import annotations

from weakref import ref

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op
from engine.passes.images._weights import made_once


def _factor(value: Value | None, features: int) -> Value | None:
    """A constant with one number for each feature."""
    if value is None or value.array is None or value.dtype != np.float32 or features == 1:
        return None
    return value if value.shape[-1:] == (features,) == (value.array.size,) else None


def _scaled(constant: Value, factor: Value, *, by_row: bool = False) -> Value | None:
    """A constant times the factors of its last axis, or of its first."""
    f = factor.array
    if f is None or constant.array is None or constant.dtype != np.float32:
        return None
    f = f.reshape(-1, 1) if by_row else f.reshape(-1)
    return made_once(constant, ("scaled", ref(factor.node), by_row), lambda array: array * f)


def _scaled_matrix(w: Value, factor: Value) -> Value | None:
    """The same for weights [k, m], which may be transposed constants."""
    if not is_op(w, "Transpose"):
        return _scaled(w, factor)
    rows = _scaled(first_input(w), factor, by_row=True)
    return None if rows is None else node("Transpose", rows, name=w.node.name, **w.node.attrs)[0]


def _product(y: Value, uses: Uses) -> tuple[Node, Value | None] | None:
    """The MatMul whose only reader, but for a constant row that is added first, wants y."""
    bias = None
    if is_op(y, "Add"):
        rows = [value for value in y.node.inputs if value is not None and value.array is not None]
        others = [value for value in y.node.inputs if value is not None and value.array is None]
        if len(rows) != 1 or uses[y] != 1 or rows[0].shape != y.shape[-1:]:
            return None
        bias, y = rows[0], others[0]
    return (y.node, bias) if is_op(y, "MatMul") and uses[y] == 1 else None


@rule("Mul")
def scaled_product(step: Node, uses: Uses) -> Value | None:
    """Fold into the weights, if nobody else reads the product."""
    for y, other in (step.inputs[:2], step.inputs[1::-1]):
        if y is None or not y.type.shape or y.array is not None or y.shape != step[0].shape:
            continue
        factor, found = _factor(other, y.shape[-1]), _product(y, uses)
        if factor is None or found is None:
            continue
        product, bias = found
        w = product.inputs[1]
        matrix = None if w is None or len(w.shape) != 2 else _scaled_matrix(w, factor)
        if matrix is None:
            continue
        z = node("MatMul", product.inputs[0], matrix, name=product.name)[0]
        added = None if bias is None else _scaled(bias, factor)
        return z if added is None else node("Add", z, added, name=step.name)[0]
    return None


RULES = (scaled_product,)
