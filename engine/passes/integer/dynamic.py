"""Products of activations that are quantised by a scale and zero point found at run time.

    x ── DynamicQuantizeLinear ── xq, s, z
    xq ── MatMulInteger(W i8, z) ── Cast ── Mul(s * w_scale) ── y    =>    xq, s, z ── dynamic_quantized_linear(W) ── y

The integer sum is exact; the two products of scales are rounded as the graph rounds them. Not when another node reads
the sums.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Array, Node, Uses, Value, constant, node, rule
from engine.graph.pattern import either_way, first_input, is_op
from engine.passes.weights import byte_matrix


@rule("Mul")
def dynamic_product(mul: Node, uses: Uses) -> Value | None:
    """Take Cast and Mul behind an integer product into it, where the scale is the activations' times a constant."""
    for cast, scale in either_way(mul):
        if not is_op(cast, "Cast") or cast.dtype != np.float32 or uses[cast] != 1:
            continue
        sums = first_input(cast)
        if is_op(sums, "MatMulInteger") and uses[sums] == 1 and sums.type.shape == mul.types[0].shape:
            return _dynamic_linear(mul, sums.node, scale)
    return None


def _dynamic_linear(mul: Node, product: Node, scale: Value) -> Value | None:
    x, w, x_zero, w_zero = (*product.inputs, None, None)[:4]
    source = first_input(x) if x is not None and is_op(x, "windows") else x
    if x is None or w is None or source is None or not is_op(source, "DynamicQuantizeLinear"):
        return None
    step = source.node
    if (
        source != step[0]
        or x_zero != step[2]
        or len(w.shape) != 2
        or (w_zero is not None and w_zero.array is None)
    ):
        return None
    factors = _own_scale(scale, step[1], w.shape[1])
    zeros = None if w_zero is None else w_zero.array
    weights = None if factors is None else byte_matrix(w, "km", zeros, factors)
    if factors is None or weights is None:
        return None
    attrs = {"weight_axes": "km", "weight_zero": weights.zero_point, "activation": "none", "store": None}
    quantised, own = (x, step[1], step[2]), constant(factors, mul.name)
    near = node("dynamic_quantized_linear", *quantised, weights.value, own, name=mul.name, **attrs)[0]
    if weights.rest is None:
        return near
    operands = (*quantised, weights.rest, own, None, near)
    return node("dynamic_quantized_linear", *operands, name=mul.name, **attrs)[0]


def _own_scale(scale: Value, x_scale: Value, outputs: int) -> Array | None:
    """The constant that `scale` multiplies the activations' scale by, as [1] or [outputs]; else None."""
    if not is_op(scale, "Mul"):
        return None
    for own, factor in either_way(scale.node):
        array = factor.array
        if own != x_scale or array is None or array.dtype != np.float32:
            continue
        if array.size == 1 or (array.size == outputs and array.shape[-1] == outputs):
            return array.reshape(-1)
    return None


RULES = (dynamic_product,)
