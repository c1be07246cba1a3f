"""Values that are rounded to 8 bits but used as f32.

    x ── quantize(s, z) ── DequantizeLinear(s, z) ── y    =>    x ── rounded(s, z) ── y
    quantized_linear(store rounded) ── Add(r) ── y        =>    quantized_linear(summed, residual = r) ── y

Normalised rows have a better way of their own. The second not when another node reads the rounded results.
"""

from __future__ import annotations

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import either_way, first_input, is_op
from engine.passes.fuse.epilogue import RESIDUAL
from engine.passes.quantisation import Quantisation, dequantised, rounding


@rule("DequantizeLinear")
def round_in_place(step: Node, uses: Uses) -> Value | None:
    """Round without leaving f32."""
    found = rounding(step[0])
    if found is not None:
        if uses[first_input(step[0])] > 1:
            # Somebody reads the bytes too: x stores them once, and they are dequantised.
            return None
        waits = is_op(found[0], "layer_norm") and found[0].node.attrs["quantize"] is None
        return None if waits else _rounded(found[0], found[1], step.name)
    read = dequantised(step[0])
    if read is None or not is_op(read.source, "layer_norm"):
        return None
    rows = read.source.node[0]
    unrounded = not rows.node.attrs["rounded"] and uses.get(rows, 0)
    return _rounded(rows, read.quantisation, step.name) if unrounded else None


def _rounded(x: Value, parameters: Quantisation, name: str) -> Value:
    return node("rounded", x, name=name, scale=parameters.scale, zero_point=parameters.zero_point)[0]


@rule("Add")
def add_to_rounded(add: Node, uses: Uses) -> Value | None:
    """A product that is rounded before something is added keeps that rounding, in its own step."""
    for product, addend in either_way(add):
        if not is_op(product, "quantized_linear") or uses[product] != 1 or addend == product:
            continue
        inputs, attrs = product.node.inputs, product.node.attrs
        store = attrs["store"]
        if store is None or store[0] != "rounded" or attrs["activation"] != "none":
            continue
        free = len(inputs) <= RESIDUAL[product.op] and attrs.get("summed") is None
        if free and addend.type == product.type == add.types[0]:
            whole = (*inputs, *(None,) * (RESIDUAL[product.op] - len(inputs)), addend)
            changed = {**attrs, "store": None, "summed": store[1:]}
            return node(product.op, *whole, name=product.node.name, **changed)[0]
    return None


RULES = (round_in_place, add_to_rounded)
