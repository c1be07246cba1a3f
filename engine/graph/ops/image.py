"""Images with the features last, as products take them: what convolutions become.

pixels(x[b, c, *size])        y[b, p, c]: every pixel is a position, its channels are features
image(y[b, p, c])             the way back.    attrs: size
windows(x[b, p, c], fill?)    y[b, p', taps * channels]: beside each other, tap by tap, what a sliding window sees
    pixels beyond the image are `fill` (a number of x's dtype; 0 where absent), and so are the features from c
    up to `channels`.    attrs: window, channels
largest_pixels(xq u8[b, p, c])     y[b, p', c]: the largest of what a window sees of each channel; pixels beyond the image
    are not seen.    attrs: window
concat_pixels(x[b, p, c], ...)       y[b, p, sum of c]: the features of all, one behind the other
depthwise(x[b, p, c], w[c, taps], bias[c]?, residual[b, p', c]?)
    activation(sum over taps of x * w + bias + residual), stored.    attrs: window, activation, store
quantized_depthwise(xq u8[b, p, c], w i8 | u8, scale[1 | c], bias_i32[c]?, bias[c]?, residual?)
    as quantized_linear, pixels beyond the image being zero_point.    attrs: and zero_point, weight_zero, product

`window` is (image, result, kernel, stride, dilation, begin), each as (down, across): sizes before and after, and the
padding above and to the left. A signal of one axis is an image of one row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops import _row
from engine.graph.ops._row import Attrs, Inputs, Op, Shape, first_dtype, given, need
from engine.graph.ops.arithmetic import MANY
from engine.graph.ops.fused import (
    ACTIVATIONS,
    activation_name,
    finished,
    finished_sums,
    is_vector,
    stored_dtype,
)


def _pixels(_attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (np.moveaxis(x, 1, -1).reshape(x.shape[0], -1, x.shape[1]),)


def _image(attrs: Attrs, y: Array) -> tuple[Array, ...]:
    return (np.moveaxis(y.reshape(y.shape[0], *attrs["size"], y.shape[2]), -1, 1),)


def _seen(window: Any, x: Array, fill: Any) -> Array:
    """x by window: [b, pixels after, taps, c]."""
    image, result, kernel, stride, dilation, begin = window
    batch, channels = x.shape[0], x.shape[2]
    reach = [(kernel[axis] - 1) * dilation[axis] for axis in range(2)]
    room = [
        max(begin[axis] + image[axis], (result[axis] - 1) * stride[axis] + reach[axis] + 1)
        for axis in range(2)
    ]
    padded = np.full((batch, *room, channels), fill, x.dtype)
    inside = tuple(slice(begin[axis], begin[axis] + image[axis]) for axis in range(2))
    padded[(slice(None), *inside)] = x.reshape(batch, *image, channels)
    y = np.empty((batch, math.prod(result), math.prod(kernel), channels), x.dtype)
    for tap, place in enumerate(np.ndindex(*kernel)):
        first = [place[axis] * dilation[axis] for axis in range(2)]
        part = tuple(
            slice(first[axis], first[axis] + (result[axis] - 1) * stride[axis] + 1, stride[axis])
            for axis in range(2)
        )
        y[:, :, tap] = padded[(slice(None), *part)].reshape(batch, -1, channels)
    return y


def _windows(attrs: Attrs, x: Array, fill: Array | None = None) -> tuple[Array, ...]:
    number = np.zeros((), x.dtype) if fill is None else fill.reshape(())
    seen = _seen(attrs["window"], x, number)
    whole = np.full((*seen.shape[:3], attrs["channels"]), number, x.dtype)
    whole[..., : x.shape[2]] = seen
    return (whole.reshape(*seen.shape[:2], -1),)


def _largest_pixels(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (_seen(attrs["window"], x, 0).max(axis=2),)


def _concat_pixels(_attrs: Attrs, *parts: Array) -> tuple[Array, ...]:
    return (np.concatenate(parts, axis=-1),)


def _depthwise(
    attrs: Attrs, x: Array, w: Array, bias: Array | None = None, residual: Array | None = None
) -> tuple[Array, ...]:
    sums = np.einsum("bptc,ct->bpc", _seen(attrs["window"], x, 0), w)
    return finished(attrs, sums, bias, residual)


def _quantized_depthwise(attrs: Attrs, xq: Array, w: Array, *rest: Any) -> tuple[Array, ...]:
    seen = _seen(attrs["window"], xq.astype(np.int32) - attrs["zero_point"], 0)
    sums = np.einsum("bptc,ct->bpc", seen, w.astype(np.int32) - attrs["weight_zero"])
    return finished_sums(attrs, sums, *rest)


def _pixels_shape(_attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape = given(inputs, 0).shape
    need(len(shape) > 2, "an image has a batch, channels and a size")
    return ((shape[0], math.prod(shape[2:]), shape[1]),)


def _image_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape, size = given(inputs, 0).shape, attrs["size"]
    need(len(shape) == 3 and math.prod(size) == shape[1], f"{list(shape)} are no images of {list(size)}")
    return ((shape[0], shape[2], *size),)


def _positions(attrs: Attrs, inputs: Inputs) -> tuple[int, int]:
    """(batch, pixels after) of a window over input 0."""
    shape = given(inputs, 0).shape
    need(len(shape) == 3 and math.prod(attrs["window"][0]) == shape[1], "the window is for another image")
    return shape[0], math.prod(attrs["window"][1])


def _windows_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    need(attrs["channels"] >= given(inputs, 0).shape[2], "a tap has all channels")
    fill = inputs[1] if len(inputs) > 1 else None
    need(fill is None or fill.dtype == given(inputs, 0).dtype, "fill must have x's dtype")
    return ((*_positions(attrs, inputs), math.prod(attrs["window"][2]) * attrs["channels"]),)


def _largest_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    need(given(inputs, 0).dtype == _row.UINT8, "x must be uint8")
    return ((*_positions(attrs, inputs), given(inputs, 0).shape[2]),)


def _concat_shape(_attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shapes = [given(inputs, place).shape for place in range(len(inputs))]
    need(all(len(shape) == 3 and shape[:2] == shapes[0][:2] for shape in shapes), "parts have other pixels")
    need(
        all(given(inputs, place).dtype == _row.FLOAT32 for place in range(len(inputs))),
        "parts must be float32",
    )
    return ((*shapes[0][:2], sum(shape[2] for shape in shapes)),)


def _depthwise_shape(
    attrs: Attrs, inputs: Inputs, biases: tuple[tuple[int, _row.DType], ...], residual: int
) -> tuple[Shape, ...]:
    need(activation_name(attrs["activation"]) in ACTIVATIONS, f"no activation {attrs['activation']!r}")
    channels, w = given(inputs, 0).shape[2], given(inputs, 1)
    need(w.shape == (channels, math.prod(attrs["window"][2])), f"weights {list(w.shape)} do not fit")
    for index, dtype in biases:
        value = inputs[index] if index < len(inputs) else None
        need(is_vector(value, dtype, channels), f"input {index} must be constant {dtype}[{channels}]")
    shape = (*_positions(attrs, inputs), channels)
    addend = inputs[residual] if residual < len(inputs) else None
    need(
        addend is None or (addend.dtype == _row.FLOAT32 and addend.shape == shape),
        "residual has another shape",
    )
    return (shape,)


def _float_depthwise_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    need(given(inputs, 0).dtype == given(inputs, 1).dtype == _row.FLOAT32, "x and w must be float32")
    return _depthwise_shape(attrs, inputs, ((2, _row.FLOAT32),), 3)


def _quantized_depthwise_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    x, w = given(inputs, 0), given(inputs, 1)
    need(x.dtype == _row.UINT8 and w.dtype in (_row.INT8, _row.UINT8), "x must be uint8, w 8 bits wide")
    need(is_vector(given(inputs, 2), _row.FLOAT32, 1, x.shape[2]), "scale must be constant float32[1] or [c]")
    return _depthwise_shape(attrs, inputs, ((3, _row.INT32), (4, _row.FLOAT32)), 5)


ROWS = (
    Op("pixels", _pixels, first_dtype, _pixels_shape, attributes=frozenset()),
    Op("image", _image, first_dtype, _image_shape, attributes=frozenset({"size"})),
    Op(
        "windows",
        _windows,
        first_dtype,
        _windows_shape,
        (1, 2),
        attributes=frozenset({"window", "channels"}),
    ),
    Op("concat_pixels", _concat_pixels, first_dtype, _concat_shape, (1, MANY), attributes=frozenset()),
    Op("largest_pixels", _largest_pixels, first_dtype, _largest_shape, attributes=frozenset({"window"})),
    Op(
        "depthwise",
        _depthwise,
        stored_dtype,
        _float_depthwise_shape,
        (2, 4),
        attributes=frozenset({"window", "activation", "store"}),
    ),
    Op(
        "quantized_depthwise",
        _quantized_depthwise,
        stored_dtype,
        _quantized_depthwise_shape,
        (3, 6),
        attributes=frozenset({"window", "activation", "store", "zero_point", "weight_zero", "product"}),
    ),
)
