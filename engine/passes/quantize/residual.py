"""A residual that is rounded to 8 bits is handed on as bytes.

quantized_linear(product = (s, z)) ── r                quantized_linear(store = ("quantized", s, z)) ── DequantizeLinear ── r
quantized_linear(residual = r) ── y              =>    quantized_linear(residual = r) ── y

A quarter of the memory, and the product that adds it dequantises it on the way. Not when another node reads it.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import is_op
from engine.passes.fuse.epilogue import BIAS, RESIDUAL, exchanged
from engine.passes.quantisation import Quantisation, dequantize


@rule("quantized_linear")
def read_residual_as_bytes(step: Node, uses: Uses) -> Value | None:
    """Store what is added as it was rounded."""
    place = RESIDUAL[step.op]
    residual = step.inputs[place] if place < len(step.inputs) else None
    if residual is None or not is_op(residual, "quantized_linear") or uses[residual] != 1:
        return None
    attrs, inputs = residual.node.attrs, residual.node.inputs
    plain = attrs["activation"] == "none" and attrs["store"] is None and attrs.get("summed") is None
    if attrs["product"] is None or not plain or any(value is not None for value in inputs[BIAS[step.op] :]):
        return None
    scale, zero_point, *factor = attrs["product"]
    changed = {**attrs, "product": None, "store": ("quantized", scale, zero_point)}
    stored = node(residual.op, *inputs, name=residual.node.name, **changed)[0]
    read_with = Quantisation(np.float32(factor[0] if factor else scale), int(zero_point))
    return exchanged(step, step.name, {place: dequantize(stored, read_with, residual.node.name)})


RULES = (read_residual_as_bytes,)
