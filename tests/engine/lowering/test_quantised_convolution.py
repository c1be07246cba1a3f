"""Convolutions of 8-bit numbers give onnxruntime's numbers, ties, saturation and zero points of the padding included.

All scales are powers of two: sums and products with them are exact, so that results may be compared bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder, run_peer
from windows_drawn import drawn_sizes

from engine import Engine

Attrs = dict[str, Any]
SCALE = 0.25


@dataclass(frozen=True)
class Layer:
    """One convolution: sizes, and what its numbers are."""

    image: tuple[int, ...] = (1, 6, 9, 11)
    weights: tuple[int, ...] = (13, 6, 3, 3)
    attrs: tuple[tuple[str, Any], ...] = (("pads", [1, 1, 1, 1]),)
    x_dtype: type = np.uint8
    x_zero: int = 117
    w_dtype: type = np.int8
    w_zero: int = 0
    per_channel: bool = False
    bias: str = "integer"
    relu: bool = False

    def x(self) -> np.ndarray:
        source = np.random.default_rng([*self.image, *self.weights])
        return source.integers(-300, 300, self.image).astype(np.float32) * np.float32(SCALE / 2)

    def w(self) -> np.ndarray:
        # A zero point of the file that is no middle leaves less room around it.
        low, high = (-128, 128) if self.w_zero in (0, 128) else (-64, 64)
        whole = np.random.default_rng(len(self.weights)).integers(low, high, self.weights)
        return (whole + self.w_zero).astype(self.w_dtype)

    def w_scale(self) -> np.ndarray:
        powers = np.arange(self.weights[0]) % 5 + 4 if self.per_channel else np.asarray(6)
        return np.asarray(0.5**powers, np.float32)

    def whole_bias(self) -> np.ndarray:
        return np.random.default_rng(7).integers(-5000, 5000, self.weights[0]).astype(np.int32)


SIZES: list[tuple[tuple[int, ...], tuple[int, ...], Attrs]] = [
    ((1, 4, 8, 8), (5, 4, 1, 1), {}),
    ((2, 3, 17, 19), (7, 3, 7, 7), {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
    ((1, 5, 12, 10), (25, 5, 3, 3), {"dilations": [2, 2], "pads": [2, 0, 1, 2]}),
    ((1, 8, 13, 11), (12, 8, 1, 1), {"strides": [2, 2]}),
    ((2, 8, 9, 9), (16, 2, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((2, 10, 15, 17), (10, 1, 3, 3), {"group": 10, "pads": [1, 1, 1, 1]}),
    ((1, 6, 14, 14), (6, 1, 5, 3), {"group": 6, "strides": [2, 1], "pads": [1, 2, 3, 1]}),
    ((1, 4, 7, 7), (8, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    # Fours of channels, each of which sees its own: bands of rows, images of a batch that share panels, widths of all kinds.
    ((2, 8, 14, 14), (8, 1, 3, 3), {"group": 8, "pads": [1, 1, 1, 1]}),
    ((3, 4, 7, 5), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((1, 4, 112, 90), (4, 1, 3, 3), {"group": 4, "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    ((1, 8, 70, 57), (8, 1, 3, 3), {"group": 8, "pads": [1, 1, 1, 1]}),
    (
        (1, 4, 40, 33),
        (4, 1, 5, 2),
        {"group": 4, "dilations": [2, 3], "strides": [1, 3], "pads": [3, 0, 4, 2]},
    ),
    ((2, 12, 300), (12, 1, 7), {"group": 12, "pads": [3, 3]}),
    ((2, 3, 50), (4, 3, 5), {"strides": [2], "pads": [2, 1]}),
    ((1, 70, 5, 5), (30, 70, 3, 3), {}),
    ((1, 2, 3, 3), (2, 2, 2, 2), {"pads": [5, 6, 7, 8], "strides": [3, 3]}),
]
SIZED = [Layer(image, weights, tuple(attrs.items())) for image, weights, attrs in SIZES]
KINDS = [
    Layer(),
    Layer(per_channel=True),
    Layer(w_dtype=np.uint8, w_zero=128),
    Layer(w_dtype=np.uint8, w_zero=131, relu=True),
    Layer(x_dtype=np.int8, x_zero=-11, per_channel=True),
    Layer(x_dtype=np.int8, x_zero=5, w_dtype=np.uint8, w_zero=128),
    Layer(x_zero=0, bias="float", relu=True),
    Layer(x_zero=255, bias="none"),
]


def _parameters(b: ModelBuilder, scale: float, zero: int, dtype: type) -> tuple[str, str]:
    return b.weight(np.float32(scale)), b.weight(np.asarray(zero, dtype))


def dequantised(layer: Layer) -> ModelBuilder:
    """DQ -> Conv -> [Relu] -> Q -> DQ, as static quantisers write it."""
    b = ModelBuilder(17)
    x = b.input("x", np.float32, layer.image)
    s = _parameters(b, SCALE, layer.x_zero, layer.x_dtype)
    x = b.op("DequantizeLinear", b.op("QuantizeLinear", x, *s), *s)
    scale = layer.w_scale()
    zeros: np.ndarray = np.full(scale.shape, layer.w_zero, layer.w_dtype)
    w = b.op("DequantizeLinear", b.weight(layer.w()), b.weight(scale), b.weight(zeros), axis=0)
    inputs = [x, w]
    if layer.bias == "integer":
        own = np.broadcast_to(scale * np.float32(SCALE), (layer.weights[0],)).copy()
        inputs.append(b.op("DequantizeLinear", b.weight(layer.whole_bias()), b.weight(own), axis=0))
    if layer.bias == "float":
        inputs.append(b.weight(layer.whole_bias().astype(np.float32) / 8))
    y = b.op("Conv", *inputs, **dict(layer.attrs))
    if layer.relu:
        y = b.op("Relu", y)
    t = _parameters(b, 4.0, 33, np.uint8)
    b.output(b.op("DequantizeLinear", b.op("QuantizeLinear", y, *t), *t))
    return b


def integer(layer: Layer) -> ModelBuilder:
    """QuantizeLinear -> ConvInteger -> Add -> Cast -> Mul -> [Relu]."""
    b = ModelBuilder(14)
    s = _parameters(b, SCALE, layer.x_zero, np.uint8)
    x = b.op("QuantizeLinear", b.input("x", np.float32, layer.image), *s)
    zero = b.weight(np.asarray(layer.w_zero, layer.w_dtype))
    y = b.op("ConvInteger", x, b.weight(layer.w()), s[1], zero, **dict(layer.attrs))
    row = (1, -1, *(1,) * (len(layer.image) - 2))
    if layer.bias != "none":
        y = b.op("Add", y, b.weight(layer.whole_bias().reshape(row)))
    scale = layer.w_scale() * np.float32(SCALE)
    factors = b.weight(scale.reshape(row) if layer.per_channel else scale)
    y = b.op("Mul", b.op("Cast", y, to=1), factors)
    b.output(b.op("Relu", y) if layer.relu else y)
    return b


def requantised(layer: Layer) -> ModelBuilder:
    """QuantizeLinear -> QLinearConv -> DequantizeLinear."""
    b = ModelBuilder(14)
    s, t = (_parameters(b, *point, layer.x_dtype) for point in ((SCALE, layer.x_zero), (4.0, 33)))
    scale = layer.w_scale()
    zeros = b.weight(np.full(scale.shape, layer.w_zero, layer.w_dtype))
    x = b.op("QuantizeLinear", b.input("x", np.float32, layer.image), *s)
    inputs = [x, *s, b.weight(layer.w()), b.weight(scale), zeros, *t]
    if layer.bias != "none":
        inputs.append(b.weight(layer.whole_bias()))
    b.output(b.op("DequantizeLinear", b.op("QLinearConv", *inputs, **dict(layer.attrs)), *t))
    return b


def check(b: ModelBuilder, x: np.ndarray, rtol: float = 0.0) -> None:
    engine = Engine(b.model().SerializeToString(), batch_size=x.shape[0])
    (want,), (got,) = run_peer(b.model(), {"x": x}), engine.run([x])
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=rtol, atol=0)
    assert engine.fraction_of_supported_ops == 1


@pytest.mark.parametrize("layer", KINDS + SIZED)
def test_dequantised_convolution(layer: Layer) -> None:
    check(dequantised(layer), layer.x())


@pytest.mark.parametrize("layer", [k for k in KINDS if k.x_dtype == np.uint8] + SIZED)
def test_integer_convolution(layer: Layer) -> None:
    check(integer(layer), layer.x())


def _has_peer(layer: Layer) -> bool:
    """onnxruntime multiplies int8 images by int8 weights only; an activation is not this operator's."""
    return not layer.relu and (layer.x_dtype == np.uint8 or layer.w_dtype == np.int8)


@pytest.mark.parametrize("layer", [k for k in KINDS if _has_peer(k)] + SIZED)
def test_requantised_convolution(layer: Layer) -> None:
    check(requantised(layer), layer.x())


def test_signed_convolutions_in_a_row() -> None:
    """int8 from one to the next, with a sum between two of them."""
    b = ModelBuilder(14)
    s = _parameters(b, 0.5, -7, np.int8)
    x = first = b.op("QuantizeLinear", b.input("x", np.float32, (1, 8, 9, 10)), *s)
    source = np.random.default_rng(12)
    for shape in ((8, 8, 3, 3), (8, 1, 3, 3), (8, 8, 1, 1)):
        w = source.integers(-127, 128, shape).astype(np.int8)
        parameters = b.weight(w), b.weight(np.float32(2**-7)), b.weight(np.int8(0))
        x = b.op("QLinearConv", x, *s, *parameters, *s, pads=[shape[2] // 2] * 4, group=8 // shape[1])
    summed = b.op("Add", *(b.op("DequantizeLinear", value, *s) for value in (x, first)))
    x = b.op("QuantizeLinear", summed, *s)
    w = source.integers(-127, 128, (3, 8, 2, 2)).astype(np.int8)
    x = b.op("QLinearConv", x, *s, b.weight(w), b.weight(np.float32(2**-7)), b.weight(np.int8(0)), *s)
    b.output(b.op("DequantizeLinear", x, *s))
    check(b, source.integers(-200, 200, (1, 8, 9, 10)).astype(np.float32) / 4)


@pytest.mark.parametrize("layer", SIZED)
def test_convolution_of_dynamically_quantised_images(layer: Layer) -> None:
    """Ranges end on powers of two, so that scales are exact."""
    b = ModelBuilder(14)
    x, scale, zero = b.ops("DynamicQuantizeLinear", b.input("x", np.float32, layer.image), count=3)
    y = b.op("ConvInteger", x, b.weight(layer.w()), zero, b.weight(np.int8(0)), **dict(layer.attrs))
    y = b.op("Mul", b.op("Cast", y, to=1), b.op("Mul", scale, b.weight(np.float32(0.125))))
    row = (1, -1, *(1,) * (len(layer.image) - 2))
    b.output(b.op("Add", y, b.weight(layer.whole_bias().astype(np.float32).reshape(row))))
    check(b, layer.x(), rtol=1e-6)


def test_residual_block_keeps_both_roundings() -> None:
    """The convolution's own rounding, the identity's, and that of their sum behind the activation."""
    b = ModelBuilder(17)
    image = (1, 8, 9, 10)
    source = np.random.default_rng(11)
    s, t, u = (_parameters(b, scale, zero, np.uint8) for scale, zero in ((0.5, 101), (1.0, 77), (2.0, 0)))
    x = b.op("DequantizeLinear", b.op("QuantizeLinear", b.input("x", np.float32, image), *s), *s)
    y = x
    for width in (4, 8):
        w = source.integers(-127, 128, (width, 8 if width == 4 else 4, 3, 3)).astype(np.int8)
        stored = b.op("DequantizeLinear", b.weight(w), b.weight(np.float32(2**-8)), b.weight(np.int8(0)))
        y = b.op("Conv", y, stored, pads=[1, 1, 1, 1])
        y = b.op("DequantizeLinear", b.op("QuantizeLinear", y, *t), *t)
    y = b.op("QuantizeLinear", b.op("Relu", b.op("Add", y, x)), *u)
    b.output(b.op("DequantizeLinear", y, *u))
    check(b, source.integers(-200, 200, image).astype(np.float32) / 4)


POOLS: list[tuple[tuple[int, ...], Attrs]] = [
    ((1, 64, 16, 18), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((2, 6, 90, 61), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ((1, 5, 13, 13), {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}),
    ((3, 4, 9, 7), {"kernel_shape": [3, 2], "strides": [3, 1], "dilations": [2, 3], "pads": [1, 0, 2, 1]}),
    ((1, 8, 10, 11), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ((2, 7, 33), {"kernel_shape": [3], "strides": [2], "pads": [1, 0]}),
]


@pytest.mark.parametrize("is_rounded_before", [False, True])
@pytest.mark.parametrize(("image", "attrs"), POOLS)
def test_largest_of_a_window_between_convolutions(
    image: tuple[int, ...], attrs: Attrs, *, is_rounded_before: bool
) -> None:
    """Rounded behind the pooling alone, or on both sides of it."""
    b, source = ModelBuilder(17), np.random.default_rng(image)
    s, t = (_parameters(b, scale, zero, np.uint8) for scale, zero in ((0.5, 101), (4.0, 77)))
    x = b.op("DequantizeLinear", b.op("QuantizeLinear", b.input("x", np.float32, image), *s), *s)
    one = (1,) * (len(image) - 2)
    for step in range(2):
        w = b.weight(source.integers(-127, 128, (image[1], image[1], *one)).astype(np.int8))
        stored = b.op("DequantizeLinear", w, b.weight(np.float32(2**-8)), b.weight(np.int8(0)))
        x = b.op("Conv", x, stored)
        if step == 0:
            if is_rounded_before:
                x = b.op("DequantizeLinear", b.op("QuantizeLinear", x, *t), *t)
            x = b.op("MaxPool", x, **attrs)
        x = b.op("DequantizeLinear", b.op("QuantizeLinear", x, *t), *t)
    b.output(x)
    check(b, source.integers(-200, 200, image).astype(np.float32) / 4)


@given(st.data())
def test_any_window_of_bytes(data: st.DataObject) -> None:
    image, weights, attrs = drawn_sizes(data)
    layer = Layer(image, weights, tuple(attrs.items()), x_zero=data.draw(st.integers(0, 255)))
    check(dequantised(replace(layer, per_channel=data.draw(st.booleans()))), layer.x())
