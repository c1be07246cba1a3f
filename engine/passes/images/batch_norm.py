"""Batch normalisation with fixed statistics is a factor and a number for each channel.

    x ── Conv(W, b) ── BatchNormalization ── y    =>    x ── Conv(W * f, (b - mean) * f + shift) ── y
    x ── BatchNormalization ── y                  =>    x ── Mul(f[c, 1, 1]) ── Add(shift - mean * f) ── y

f = gain / sqrt(variance + epsilon), in float64 and rounded once (Krishnamoorthi 2018). Weights that are quantised already
keep their numbers.
"""

from __future__ import annotations

from weakref import ref

import numpy as np

from engine.graph import Array, Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op
from engine.passes.images._weights import made_once


def _parameters(step: Node) -> list[Array] | None:
    """Gain, shift, mean and variance in float64; None where one is not constant."""
    arrays = [None if value is None else value.array for value in step.inputs[1:5]]
    found = [np.asarray(array, np.float64) for array in arrays if array is not None]
    return found if len(found) == len(arrays) else None


def _named(step: Node) -> tuple[object, ...]:
    """What tells this normalisation from others, without keeping its constants alive."""
    return (*(ref(value.node) for value in step.inputs[1:5] if value is not None), step.attrs["epsilon"])


def _factor(step: Node, parameters: list[Array]) -> Array:
    gain, _, _, variance = parameters
    return np.asarray(gain / np.sqrt(variance + step.attrs["epsilon"]), np.float64)


@rule("BatchNormalization")
def normalised_convolution(step: Node, uses: Uses) -> Value | None:
    """Fold into the weights of the convolution before, if nobody else reads that."""
    conv, parameters = first_input(step[0]), _parameters(step)
    if parameters is None or not is_op(conv, "Conv") or uses[conv] != 1:
        return None
    x, w, bias = (*conv.node.inputs, None)[:3]
    if w is None or w.array is None or w.dtype != np.float32 or (bias is not None and bias.array is None):
        return None
    factor, (_, shift, mean, _) = _factor(step, parameters), parameters
    form = ("normalised", *_named(step))
    per_output = (-1,) + (1,) * (len(w.shape) - 1)
    weights = made_once(w, form, lambda a: (a * factor.reshape(per_output)).astype(np.float32))
    own = 0.0 if bias is None or bias.array is None else bias.array.astype(np.float64)
    source = bias if bias is not None else step.inputs[1]
    if source is None:
        return None
    added = made_once(source, form, lambda _: ((own - mean) * factor + shift).astype(np.float32))
    return node("Conv", x, weights, added, name=conv.node.name, **conv.node.attrs)[0]


@rule("BatchNormalization")
def normalised_channels(step: Node, uses: Uses) -> Value | None:
    """A factor and a number for each channel, where there is no convolution to take them."""
    x, parameters = first_input(step[0]), _parameters(step)
    gain, shift = step.inputs[1:3]
    if parameters is None or x.dtype != np.float32 or x.type.shape is None or gain is None or shift is None:
        return None
    if (
        is_op(x, "Conv")
        and uses[x] == 1
        and x.node.inputs[1] is not None
        and x.node.inputs[1].array is not None
    ):
        return None
    factor, (_, added, mean, _) = _factor(step, parameters), parameters
    form = ("channels", *_named(step), len(x.shape))
    per_channel = (-1,) + (1,) * (len(x.shape) - 2)
    scale = made_once(gain, form, lambda _: factor.astype(np.float32).reshape(per_channel))
    rest = made_once(shift, form, lambda _: (added - mean * factor).astype(np.float32).reshape(per_channel))
    scaled = node("Mul", x, scale, name=step.name)[0]
    return node("Add", scaled, rest, name=step.name)[0]


RULES = (normalised_convolution, normalised_channels)
