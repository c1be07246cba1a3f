"""A product that leaves its step as bytes, only to be dequantised and to have a bias added.

    quantized_linear(store = ("quantized", t, z)) ── DequantizeLinear(s, z) ── Add(b[m]) ── y
        =>    quantized_linear(product = (t, z, s), bias = b) ── y

QLinearMatMul rounds by a scale of 1 what it has multiplied by all scales at once. Not when another node reads the bytes.
"""

from __future__ import annotations

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import either_way, first_input, is_op, row_constant
from engine.passes.fuse.epilogue import BIAS
from engine.passes.quantisation import per_tensor


@rule("Add")
def add_bias_to_rounded(add: Node, uses: Uses) -> Value | None:
    """Keep the rounding in the product's step, and the bias behind it."""
    for real, addend in either_way(add):
        if not is_op(real, "DequantizeLinear") or uses[real] != 1 or real.type != add.types[0]:
            continue
        product, parameters = first_input(real), per_tensor(real.node)
        if parameters is None or not _is_bare(product, uses):
            continue
        row, (_, step, zero_point) = row_constant(addend, real.shape[-1]), product.node.attrs["store"]
        if row is not None and zero_point == parameters.zero_point:
            inputs = product.node.inputs
            whole = (*inputs, *(None,) * (BIAS[product.op] - len(inputs)), constant(row, add.name))
            kept = (step, zero_point, parameters.scale)
            attrs = {**product.node.attrs, "store": None, "product": kept}
            return node(product.op, *whole, name=product.node.name, **attrs)[0]
    return None


def _is_bare(product: Value, uses: Uses) -> bool:
    """Whether these are bytes of a product to which nothing has been added, read once."""
    if not is_op(product, "quantized_linear") or uses[product] != 1 or product.type.shape is None:
        return False
    attrs = product.node.attrs
    plain = attrs["product"] is None and attrs["activation"] == "none" and attrs.get("summed") is None
    stored = attrs["store"] is not None and attrs["store"][0] == "quantized"
    return plain and stored and len(product.node.inputs) <= BIAS[product.op]


RULES = (add_bias_to_rounded,)
