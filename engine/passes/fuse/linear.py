"""A product with a constant matrix.

x ── MatMul(W) ── y                                           x ── linear(W) ── y
x ── Gemm(W, b) ── y                                    =>    x ── linear(W, b) ── y
x[b,s,k] ── Reshape[b*s,k] ── linear ── Reshape ── y          x ── linear ── y
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import first_input, is_op, operands, row_constant
from engine.passes.fuse.epilogue import RESIDUAL
from engine.passes.weights import Matrix, float_matrix


def _linear(x: Value, weights: Matrix, bias: Value | None, name: str) -> Value:
    attrs = {"weight_axes": weights.axes, "activation": "none", "store": None}
    return node("linear", x, weights.value, bias, name=name, **attrs)[0]


@rule("MatMul")
def product_with_weights(product: Node, _uses: Uses) -> Value | None:
    """A product whose second operand is constant."""
    x, w = operands(product)
    weights = float_matrix(w)
    if weights is None or x.dtype != np.float32 or x.type.shape is None:
        return None
    return _linear(x, weights, None, product.name)


@rule("MatMul")
def product_of_weights(product: Node, _uses: Uses) -> Value | None:
    """A product whose first operand is constant.

    MatMul(W, x) ── y    =>    x ── Transpose ── linear(W as [m, k]) ── Transpose ── y
    """
    w, x = operands(product)
    weights = float_matrix(w, transposed=True)
    if weights is None or x.dtype != np.float32 or x.type.shape is None or len(x.shape) < 2:
        return None
    rank = len(x.shape)
    swap = (*range(rank - 2), rank - 1, rank - 2)
    columns = node("Transpose", x, name=product.name, perm=swap)[0]
    return node("Transpose", _linear(columns, weights, None, product.name), name=product.name, perm=swap)[0]


@rule("Gemm")
def gemm_with_weights(gemm: Node, _uses: Uses) -> Value | None:
    """Gemm in its parts: transposes, product, factors, addition. What is a bias goes in at once."""
    attrs, a = gemm.attrs, first_input(gemm[0])
    b, c = gemm.inputs[1], gemm.inputs[2] if len(gemm.inputs) > 2 else None
    weights = None if b is None else float_matrix(b, transposed=bool(attrs["transB"]))
    if weights is None or a.type.shape is None:
        return None
    x = node("Transpose", a, name=gemm.name, perm=(1, 0))[0] if attrs["transA"] else a
    row = row_constant(c, weights.outputs) if attrs["alpha"] == attrs["beta"] == 1 else None
    if c is None or row is not None:
        bias = None if row is None or c is None else (c if c.array is row else constant(row, gemm.name))
        return _scaled(_linear(x, weights, bias, gemm.name), attrs["alpha"], gemm.name)
    y = _scaled(_linear(x, weights, None, gemm.name), attrs["alpha"], gemm.name)
    return node("Add", y, _scaled(c, attrs["beta"], gemm.name), name=gemm.name)[0]


def _scaled(value: Value, factor: float, name: str) -> Value:
    if factor == 1:
        return value
    number = np.asarray(factor, np.float32)
    if value.array is not None:
        return constant(value.array * number, name)
    return node("Mul", value, constant(number), name=name)[0]


@rule("Reshape")
def linear_in_place(reshape: Node, uses: Uses) -> Value | None:
    """Drop the reshapes around a linear that only joined the leading axes."""
    product = first_input(reshape[0])
    if not is_op(product, "linear", "weight_only_linear", "quantized_linear") or uses[product] != 1:
        return None
    joined = first_input(product)
    if not is_op(joined, "Reshape") or len(product.node.inputs) > RESIDUAL[product.op]:
        return None
    x = first_input(joined)
    if reshape.types[0].shape != (*x.shape[:-1], product.shape[-1]) or x.shape[-1:] != joined.shape[-1:]:
        return None
    return node(product.op, x, *product.node.inputs[1:], name=product.node.name, **product.node.attrs)[0]


RULES = (product_with_weights, product_of_weights, gemm_with_weights, linear_in_place)
