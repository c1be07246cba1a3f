"""A convolution of bytes to bytes in one node; int8 as uint8 with a zero point of 128 more.

    xq ── QLinearConv(W, b) ── y    =>    xq ── pixels ── windows ── quantized_linear(W, b, store = (1, zy)) ── image ── y

Its scale is sx * sw / sy: the operator multiplies by one factor and rounds; dividing by a scale of 1 changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.graph import Array, Node, Uses, Value, constant, node, rule
from engine.graph.pattern import first_input, is_op
from engine.passes.images._weights import Weights, constant_weights, product_matrix, tap_matrix
from engine.passes.images._window import image, is_plain, pixels, window_of, windows
from engine.passes.images.convolution import is_depthwise, single_zero, whole_quads
from engine.passes.integer.unsigned import SHIFT, shifted
from engine.passes.weights import QuantisedMatrix, byte_matrix


def _factors(conv: Node) -> Array | None:
    scales = [None if value is None else value.array for value in (conv.inputs[i] for i in (1, 4, 6))]
    x, w, y = scales
    if x is None or w is None or y is None or x.size != 1 or y.size != 1:
        return None
    return np.asarray(x.reshape(()) * w.reshape(-1) / y.reshape(()), np.float32).reshape(-1)


def _unsigned_zero(value: Value | None) -> int | None:
    """The one zero point of images, as uint8 ones have it."""
    array = None if value is None else value.array
    if array is None or array.size != 1:
        return None
    return int(array.reshape(())) + (SHIFT if array.dtype == np.int8 else 0)


def _bytes(weights: Weights, conv: Node, channels: int, factors: Array) -> QuantisedMatrix | None:
    """The matrix of bytes; None where they do not fit eight bits less their zero point."""
    zero = single_zero(conv.inputs[5])
    if zero is None:
        return None
    if is_depthwise(conv, weights):
        matrix = tap_matrix(weights)
    else:
        matrix = product_matrix(weights, conv.attrs["group"], channels, zero)
    found = byte_matrix(matrix, "mk", np.asarray(zero), factors)
    return found if found is not None and found.rest is None else None


def _unsigned(x: Value) -> Value | None:
    """The image as uint8: of int8 where it was quantised to that, its numbers plus 128."""
    if x.dtype == np.uint8:
        return x
    if is_op(x, "image"):
        y = _unsigned(first_input(x))
        return None if y is None else image(y, x.node.attrs["size"], x.node.name)
    return shifted(x)


@rule("QLinearConv")
def requantised_convolution(conv: Node, _uses: Uses) -> Value | None:
    """With one scale and zero point of the images, and one zero point of the weights."""
    source, w = conv.inputs[0], conv.inputs[3]
    x = None if source is None else _unsigned(source)
    weights, factors = constant_weights(w), _factors(conv)
    zeros = _unsigned_zero(conv.inputs[2]), _unsigned_zero(conv.inputs[7])
    if x is None or w is None or weights is None or factors is None or conv.types[0].shape is None:
        return None
    x_zero, y_zero = zeros
    if x_zero is None or y_zero is None or len(x.shape) not in (3, 4) or 0 in conv[0].shape:
        return None
    name, window = conv.name, window_of(conv, x, w.shape[2:])
    channels = x.shape[1] if is_plain(window) else whole_quads(x.shape[1])
    found = _bytes(weights, conv, channels, factors)
    bias = conv.inputs[8] if len(conv.inputs) > 8 else None
    if found is None or (bias is not None and (bias.array is None or bias.dtype != np.int32)):
        return None
    store = ("quantized", np.float32(1), y_zero)
    attrs: dict[str, Any] = {"weight_zero": found.zero_point, "zero_point": x_zero, "product": None}
    attrs |= {"activation": "none", "store": store}
    operands = (found.value, constant(factors, name), bias)
    if is_depthwise(conv, weights):
        y = node("quantized_depthwise", pixels(x, name), *operands, name=name, window=window, **attrs)[0]
    else:
        fill = constant(np.asarray(x_zero, np.uint8), name)
        seen = windows(pixels(x, name), window, channels, fill, name)
        y = node("quantized_linear", seen, *operands, name=name, weight_axes="mk", **attrs)[0]
    if conv[0].dtype == np.int8:
        y = node("signed", y, name=name)[0]
    return image(y, conv[0].shape[2:], name)


RULES = (requantised_convolution,)
