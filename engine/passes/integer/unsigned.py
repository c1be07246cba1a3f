"""Signed activations become unsigned ones: the zero point moves by 128, the numbers meant stay.

x ── QuantizeLinear(s, z i8) ── DequantizeLinear   =>   x ── quantize(s, z + 128) ── DequantizeLinear
x ── QuantizeLinear(s, z u8) ── reader             =>   x ── quantize(s, z) ── reader
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import first_input, is_op
from engine.passes.quantisation import Quantisation, dequantize, per_tensor, quantize

SHIFT = 128


@rule("QuantizeLinear")
def plain_quantize(step: Node, _uses: Uses) -> Value | None:
    """Our quantize, where one scale and zero point serve all and the result is uint8."""
    parameters = per_tensor(step)
    if parameters is None or step.types[0].dtype != np.uint8 or first_input(step[0]).dtype != np.float32:
        return None
    return quantize(first_input(step[0]), parameters, step.name)


@rule("DequantizeLinear")
def unsigned_pair(step: Node, _uses: Uses) -> Value | None:
    """A signed pair as an unsigned one."""
    source, parameters = first_input(step[0]), per_tensor(step)
    if parameters is None or source.dtype != np.int8:
        return None
    moved = shifted(source)
    if moved is None:
        return None
    return dequantize(moved, Quantisation(parameters.scale, parameters.zero_point + SHIFT), step.name)


@rule("MatMulInteger")
def unsigned_product(product: Node, _uses: Uses) -> Value | None:
    """A product whose first operand was quantised to int8, reading it as uint8."""
    source = first_input(product[0])
    zero = (
        product.inputs[2].array
        if len(product.inputs) > 2 and product.inputs[2] is not None
        else np.zeros((), np.int8)
    )
    if source.dtype != np.int8 or zero is None or zero.size != 1:
        return None
    moved = shifted(source)
    if moved is None:
        return None
    offset = constant(np.asarray(int(zero.reshape(())) + SHIFT, np.uint8))
    return node("MatMulInteger", moved, product.inputs[1], offset, *product.inputs[3:], name=product.name)[0]


def shifted(source: Value) -> Value | None:
    """The same numbers plus 128 as uint8, if `source` was quantised to int8."""
    if is_op(source, "signed"):
        return first_input(source)
    if not is_op(source, "QuantizeLinear"):
        return None
    parameters = per_tensor(source.node)
    if parameters is None or source.dtype != np.int8:
        return None
    moved = Quantisation(parameters.scale, parameters.zero_point + SHIFT)
    return quantize(first_input(source), moved, source.node.name)


RULES = (plain_quantize, unsigned_pair, unsigned_product)
