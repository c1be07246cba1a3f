"""Convolutions by offsets give what onnxruntime gives, over strides, pads, dilations, groups and odd sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder, run_peer
from windows_drawn import drawn_sizes

from engine import Engine


def convolution(
    image: tuple[int, ...], weights: tuple[int, ...], *, bias: bool = True, **attrs: Any
) -> tuple[ModelBuilder, np.ndarray]:
    """The model, and an input for it."""
    source = np.random.default_rng([*image, *weights])
    b = ModelBuilder(17)
    inputs = [b.input("x", np.float32, image), b.weight(source.standard_normal(weights).astype(np.float32))]
    if bias:
        inputs.append(b.weight(source.standard_normal(weights[0]).astype(np.float32)))
    b.output(b.op("Conv", *inputs, **attrs))
    return b, source.standard_normal(image).astype(np.float32)


def check(b: ModelBuilder, x: np.ndarray, weights: tuple[int, ...]) -> None:
    engine = Engine(b.model().SerializeToString(), batch_size=x.shape[0])
    (want,), (got,) = run_peer(b.model(), {"x": x}), engine.run([x])
    assert got.shape == want.shape
    # Sums of so many products of standard normal numbers.
    np.testing.assert_allclose(got, want, rtol=0, atol=2**-20 * (np.prod(weights[1:]) + 8))
    assert engine.fraction_of_supported_ops == 1


# image, weights, attributes: pixels below, at and above a register tile; rows of results below, at and above a strip.
CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    ((1, 3, 8, 8), (5, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((2, 5, 7, 9), (12, 5, 1, 1), {}),
    ((1, 4, 13, 11), (13, 4, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((3, 3, 17, 19), (7, 3, 7, 7), {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
    ((1, 6, 12, 10), (25, 6, 3, 3), {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    ((1, 2, 20, 20), (3, 2, 3, 5), {"dilations": [3, 2], "strides": [2, 3], "pads": [0, 4, 1, 2]}),
    ((2, 8, 9, 9), (16, 2, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((1, 6, 9, 14), (26, 3, 2, 2), {"group": 2, "strides": [1, 2]}),
    ((2, 10, 15, 17), (10, 1, 3, 3), {"group": 10, "pads": [1, 1, 1, 1]}),
    ((1, 6, 14, 14), (6, 1, 3, 3), {"group": 6, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((1, 4, 11, 11), (12, 1, 5, 5), {"group": 4, "pads": [2, 2, 2, 2]}),
    ((1, 3, 5, 5), (4, 3, 5, 5), {}),
    ((1, 3, 4, 30), (4, 3, 1, 7), {"strides": [4, 1]}),
    ((2, 3, 50), (4, 3, 5), {"strides": [2], "pads": [2, 1]}),
    ((1, 4, 33), (4, 1, 3), {"group": 4, "dilations": [4]}),
    ((1, 2, 3, 3), (2, 2, 2, 2), {"pads": [5, 6, 7, 8], "strides": [3, 3]}),
    ((1, 130, 7, 7), (70, 130, 1, 1), {}),
]


@pytest.mark.parametrize(("image", "weights", "attrs"), CASES)
@pytest.mark.parametrize("bias", [True, False])
def test_result_is_that_of_onnxruntime(
    image: tuple[int, ...], weights: tuple[int, ...], attrs: dict[str, Any], bias: bool
) -> None:
    b, x = convolution(image, weights, bias=bias, **attrs)
    check(b, x, weights)


@given(st.data())
def test_any_window_gives_what_onnxruntime_gives(data: st.DataObject) -> None:
    image, weights, attrs = drawn_sizes(data)
    b, x = convolution(image, weights, **attrs)
    check(b, x, weights)


def test_infinities_and_nan_stay_in_their_windows() -> None:
    weights = (4, 2, 3, 3)
    b, x = convolution((1, 2, 9, 9), weights, pads=[1, 1, 1, 1])
    x[0, 0, 4, 4], x[0, 1, 8, 0] = np.nan, np.inf
    (want,) = run_peer(b.model(), {"x": x})
    (got,) = Engine(b.model().SerializeToString()).run([x])
    assert np.array_equal(np.isfinite(got), np.isfinite(want))
