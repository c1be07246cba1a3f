"""What is done to each result of a product happens in the product's own step.

    linear ── Add(b[m]) ── y        =>    linear(bias = b) ── y
    linear ── Add(r) ── y           =>    linear(residual = r) ── y

Activations alike (activation.py). Not when another node reads the product: it would be computed twice.
"""

from __future__ import annotations

from typing import Any

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import either_way, first_input, is_op, row_constant
from engine.passes.quantisation import rounding

BIAS = {
    "linear": 2,
    "weight_only_linear": 4,
    "quantized_linear": 4,
    "dynamic_quantized_linear": 5,
    "depthwise": 2,
    "quantized_depthwise": 4,
}
RESIDUAL = {name: place + 1 for name, place in BIAS.items()}


def _input(product: Node, index: int) -> Value | None:
    return product.inputs[index] if index < len(product.inputs) else None


def exchanged(before: Node, name: str, inputs: dict[int, Value], /, **attrs: Any) -> Value:
    """The product with some inputs and attributes exchanged."""
    width = max(len(before.inputs), max(inputs, default=0) + 1)
    whole = [inputs.get(index, _input(before, index)) for index in range(width)]
    return node(before.op, *whole, name=name, **{**before.attrs, **attrs})[0]


def is_open(product: Value, uses: Uses) -> bool:
    """Whether something may still be added to this product's results."""
    if not is_op(product, *BIAS) or uses[product] != 1 or product.type.shape is None:
        return False
    return product.node.attrs["activation"] == "none" and product.node.attrs["store"] is None


def _has_no_residual(product: Value) -> bool:
    return _input(product.node, RESIDUAL[product.op]) is None


def _partner(product: Value, uses: Uses) -> Value | None:
    """The product of the same activations that this one adds: weights of more than 8 bits are multiplied in two parts."""
    residual = _input(product.node, RESIDUAL[product.op])
    if residual is None or residual.op != product.op or not is_open(residual, uses):
        return None
    return residual if residual.node.inputs[0] == product.node.inputs[0] else None


@rule("Add")
def add_bias(add: Node, uses: Uses) -> Value | None:
    """A row constant becomes the bias."""
    for product, addend in either_way(add):
        if not is_open(product, uses) or _input(product.node, BIAS[product.op]) is not None:
            continue
        if product.type != add.types[0] or not (_has_no_residual(product) or _partner(product, uses)):
            continue
        row = row_constant(addend, product.shape[-1])
        if row is not None:
            bias = (
                addend if addend.array is not None and addend.shape == row.shape else constant(row, add.name)
            )
            return exchanged(product.node, product.node.name, {BIAS[product.op]: bias})
    return None


@rule("Add")
def add_residual(add: Node, uses: Uses) -> Value | None:
    """Another value of the same shape becomes the residual."""
    for product, addend in either_way(add):
        if not is_open(product, uses) or not addend.type == product.type == add.types[0] or addend == product:
            continue
        name, place = product.node.name, RESIDUAL[product.op]
        if _has_no_residual(product):
            return exchanged(product.node, name, {place: addend})
        partner = _partner(product, uses)
        if partner is not None and _has_no_residual(partner):
            return exchanged(product.node, name, {place: exchanged(partner.node, name, {place: addend})})
    return None


@rule("DequantizeLinear")
def round_product(step: Node, uses: Uses) -> Value | None:
    """A product that is rounded to 8 bits before anything is added keeps that rounding, in its own step.

    quantized_linear ── quantize ── DequantizeLinear ── y    =>    quantized_linear(product = (s, z)) ── y
    """
    found = rounding(step[0])
    if found is None or uses[first_input(step[0])] != 1:
        return None
    product, parameters = found
    if (
        not is_op(product, "quantized_linear", "quantized_depthwise")
        or not is_open(product, uses)
        or product.node.attrs["product"] is not None
    ):
        return None
    if any(_input(product.node, index[product.op]) is not None for index in (BIAS, RESIDUAL)):
        return None
    return exchanged(product.node, product.node.name, {}, product=parameters.pair)


RULES = (add_bias, add_residual, round_product)
