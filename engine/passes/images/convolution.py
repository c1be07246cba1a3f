"""A convolution is a product over windows of pixels.

    x ── Conv(W, b) ── y    =>    x ── pixels ── windows ── MatMul(W as [m, taps * c]) ── Add(b) ── image ── y
    x ── Conv(W, b) ── y    =>    x ── pixels ── depthwise(W as [c, taps]) ── Add(b) ── image ── y    one channel each
    xq ── ConvInteger(W) ── y    =>    xq ── pixels ── windows(zero point) ── MatMulInteger(W) ── image ── y

A window of one pixel needs no windows. Groups are zeros in the matrix: sparse kernels leave them out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op
from engine.passes.images._weights import (
    Weights,
    constant_weights,
    made_once,
    product_matrix,
    tap_matrix,
)
from engine.passes.images._window import image, is_plain, pixels, window_of, windows

QUAD = 4


def _known(convolution: Node, x: Value | None, w: Value | None) -> tuple[Value, Weights] | None:
    """The image and weights of a convolution over one or two axes whose weights are constant."""
    weights = constant_weights(w)
    if x is None or weights is None or convolution.types[0].shape is None or x.type.shape is None:
        return None
    return (x, weights) if len(x.shape) in (3, 4) and 0 not in convolution[0].shape else None


def is_depthwise(convolution: Node, weights: Weights) -> bool:
    """Whether every result sees the channel of its own number, and there is more than one."""
    array = weights.array
    return bool(array.shape[1] == 1 and 1 < array.shape[0] == convolution.attrs["group"])


def whole_quads(channels: int) -> int:
    """Channels of a tap when four bytes go together."""
    return -(-channels // QUAD) * QUAD


def _is_dequantised(x: Value) -> bool:
    source = first_input(x) if is_op(x, "image") else x
    return is_op(source, "DequantizeLinear") and first_input(source).dtype in (np.uint8, np.int8)


@rule("Conv")
def convolution_as_product(conv: Node, _uses: Uses) -> Value | None:
    """Of float32, or of what is dequantised."""
    known = _known(conv, conv.inputs[0], conv.inputs[1])
    if known is None or known[0].dtype != np.float32 or conv.inputs[1] is None:
        return None
    (x, weights), name = known, conv.name
    window, seen = window_of(conv, x, conv.inputs[1].shape[2:]), pixels(x, name)
    y: Value
    if is_depthwise(conv, weights):
        attrs: dict[str, Any] = {"window": window, "activation": "none", "store": None}
        y = node("depthwise", seen, tap_matrix(weights), name=name, **attrs)[0]
    else:
        channels = x.shape[1]
        if weights.step is not None and _is_dequantised(x):
            channels = whole_quads(channels)
        matrix = product_matrix(weights, conv.attrs["group"], channels, None)
        columns = node("Transpose", matrix, name=name, perm=(1, 0))[0]
        y = node("MatMul", windows(seen, window, channels, None, name), columns, name=name)[0]
    bias = conv.inputs[2] if len(conv.inputs) > 2 else None
    if bias is not None:
        y = node("Add", y, bias, name=name)[0]
    return image(y, conv[0].shape[2:], name)


def single_zero(zero: Value | None) -> int | None:
    """The one zero point of weights; None where they have several, or it is not constant."""
    array = np.zeros(1, np.int32) if zero is None else zero.array
    return None if array is None or np.any(array != array.flat[0]) else int(array.flat[0])


@rule("ConvInteger")
def integer_convolution(conv: Node, _uses: Uses) -> Value | None:
    """Of bytes, with one zero point of the weights."""
    image_read, w, x_zero, w_zero = (*conv.inputs, None, None)[:4]
    known, zero = _known(conv, image_read, w), single_zero(w_zero)
    if known is None or w is None or known[0].dtype != np.uint8 or zero is None:
        return None
    if x_zero is not None and x_zero.array is not None and x_zero.array.size != 1:
        return None
    (x, weights), name = known, conv.name
    window = window_of(conv, x, w.shape[2:])
    channels = x.shape[1] if is_plain(window) else whole_quads(x.shape[1])
    rows = product_matrix(weights, conv.attrs["group"], channels, zero)
    matrix = made_once(rows, "columns", lambda array: array.T)
    scalar = None if w_zero is None else made_once(w_zero, "first", lambda a: a.reshape(-1)[:1].reshape(()))
    seen = windows(pixels(x, name), window, channels, x_zero, name)
    y = node("MatMulInteger", seen, matrix, x_zero, scalar, name=name)[0]
    return image(y, conv[0].shape[2:], name)


RULES = (convolution_as_product, integer_convolution)
