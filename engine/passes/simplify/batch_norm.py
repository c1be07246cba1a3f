"""Normalisation by the statistics of a training is a factor and an offset for each channel.

x ── Conv(W, b) ── BatchNormalization ── y    =>    x ── Conv(W * f, b * f + o) ── y
x ── BatchNormalization ── y                  =>    x ── Mul(f) ── Add(o) ── y

Not into a convolution that another node reads.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Array, Node, Uses, Value, constant, node, rule
from engine.graph.pattern import first_input, is_op


def _factor_and_offset(step: Node) -> tuple[Array, Array] | None:
    arrays = [None if value is None else value.array for value in step.inputs[1:]]
    known = [array.astype(np.float64) for array in arrays if array is not None and array.dtype == np.float32]
    if len(known) != 4:
        return None
    gain, bias, mean, variance = known
    factor = gain / np.sqrt(variance + step.attrs["epsilon"])
    return factor, bias - mean * factor


@rule("BatchNormalization")
def normalised_by_channel(step: Node, uses: Uses) -> Value | None:
    """Take it into the convolution before it, or write it plainly."""
    found, x = _factor_and_offset(step), first_input(step[0])
    if found is None or x.dtype != np.float32 or x.type.shape is None:
        return None
    factor, offset = found
    if is_op(x, "Conv") and uses[x] == 1:
        taken = _taken(x.node, factor, offset)
        if taken is not None:
            return taken
    shape = (-1, *(1,) * (len(x.shape) - 2))
    scaled = node("Mul", x, constant(factor.astype(np.float32).reshape(shape), step.name), name=step.name)[0]
    return node("Add", scaled, constant(offset.astype(np.float32).reshape(shape), step.name), name=step.name)[
        0
    ]


def _taken(conv: Node, factor: Array, offset: Array) -> Value | None:
    x, w, bias = (*conv.inputs, None)[:3]
    if x is None or w is None or w.array is None or (bias is not None and bias.array is None):
        return None
    if bias is not None and bias.array is not None:
        offset = bias.array.astype(np.float64) * factor + offset
    scaled = (w.array * factor.reshape(-1, *(1,) * (w.array.ndim - 1))).astype(np.float32)
    weights, biases = constant(scaled, w.node.name), constant(offset.astype(np.float32), conv.name)
    return node("Conv", x, weights, biases, name=conv.name, **conv.attrs)[0]


RULES = (normalised_by_channel,)
