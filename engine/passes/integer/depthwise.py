"""Depthwise convolutions of quantised pixels and weights.

xq ── DequantizeLinear ── depthwise ── y            xq ── quantized_depthwise(w, scale = s * sw) ── y
W i8 ── DequantizeLinear ──┘                  =>
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import first_input, operands
from engine.passes.quantisation import dequantised
from engine.passes.weights import quantised_matrix


@rule("depthwise")
def dequantised_depthwise(step: Node, _uses: Uses) -> Value | None:
    """Multiply integers where both operands are dequantised, the second from a constant."""
    x, w = operands(step) if len(step.inputs) == 2 else (None, None)
    if x is None or w is None:
        return None
    found, weights = dequantised(x), quantised_matrix(w, transposed=True)
    if found is None or weights is None or weights.rest is not None or first_input(w).op != "Constant":
        return None
    scale = (found.quantisation.scale * weights.scale).astype(np.float32)
    attrs = {"zero_point": found.quantisation.zero_point, "weight_zero": weights.zero_point, "product": None}
    factors = constant(scale, step.name)
    operator = "quantized_depthwise"
    return node(operator, found.source, weights.value, factors, name=step.name, **{**step.attrs, **attrs})[0]


RULES = (dequantised_depthwise,)
