"""Depthwise convolutions in float32 give what onnxruntime gives, whatever the window, the epilogue and the threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.onnx_builder import ModelBuilder, run_peer

from engine import Engine
from engine.kernels.convolution.flat_places import is_flat
from engine.kernels.convolution.planes import Window

SAME = [1, 1, 1, 1]
# image, kernel, attributes: one band and several, tails, rows below and above a vector, whole vectors of panels;
# strides, dilations, asymmetric padding, results wider than the image, images that no tap of a row sees.
CASES: list[tuple[tuple[int, ...], tuple[int, int], dict[str, Any]]] = [
    ((1, 5, 70, 112), (3, 3), {"pads": SAME}),
    ((2, 7, 56, 56), (3, 3), {"pads": SAME}),
    ((3, 6, 14, 14), (3, 3), {"pads": SAME}),
    ((2, 9, 7, 7), (3, 3), {"pads": SAME}),
    ((1, 3, 5, 1), (3, 3), {"pads": SAME}),
    ((1, 4, 112, 112), (3, 3), {"pads": SAME, "strides": [2, 2]}),
    ((2, 3, 56, 56), (3, 3), {"pads": SAME, "strides": [2, 2]}),
    ((2, 5, 28, 27), (3, 3), {"pads": [0, 1, 1, 1], "strides": [2, 2]}),
    ((1, 6, 33, 32), (3, 3), {"pads": [1, 0, 2, 1], "strides": [1, 2]}),
    ((1, 6, 33, 48), (3, 3), {"pads": [2, 1, 0, 1], "strides": [3, 1]}),
    ((2, 3, 20, 50), (5, 5), {"pads": [2, 2, 2, 2], "strides": [2, 3]}),
    ((1, 9, 21, 37), (5, 5), {"pads": [2, 2, 2, 2]}),
    ((2, 4, 19, 23), (3, 3), {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    ((1, 4, 40, 40), (3, 3), {"pads": [3, 3, 3, 3], "dilations": [3, 3], "strides": [2, 2]}),
    ((1, 4, 9, 17), (3, 3), {"pads": [2, 2, 2, 2]}),
    ((1, 2, 4, 10), (2, 2), {"pads": [9, 3, 8, 20]}),
    ((1, 2, 3, 18), (3, 7), {"pads": [60, 3, 60, 3], "dilations": [20, 1]}),
    ((1, 5, 30, 64), (1, 1), {"strides": [2, 2]}),
    ((1, 5, 12, 20), (3, 3), {}),
]
EPILOGUES: list[tuple[str, ...]] = [(), ("Relu",), ("Add",), ("Add", "Relu"), ("Sigmoid",), ("Add", "Tanh")]


def model(
    image: tuple[int, ...], kernel: tuple[int, int], attrs: dict[str, Any], after: tuple[str, ...]
) -> tuple[bytes, dict[str, np.ndarray], ModelBuilder]:
    """A depthwise convolution, what comes after it, and inputs."""
    source, channels = np.random.default_rng([*image, *kernel]), image[1]
    b = ModelBuilder(17)
    weights = source.standard_normal((channels, 1, *kernel)).astype(np.float32)
    x = b.input("x", np.float32, image)
    bias = b.weight(source.standard_normal(channels).astype(np.float32))
    y = b.op("Conv", x, b.weight(weights), bias, group=channels, **attrs)
    for op in after:
        # Of the image, by another convolution of the same sizes.
        others = (b.op("Conv", x, b.weight(weights[::-1].copy()), group=channels, **attrs),)
        y = b.op(op, y, *(others if op == "Add" else ()))
    b.output(y)
    inputs = {"x": source.standard_normal(image).astype(np.float32)}
    return b.model().SerializeToString(), inputs, b


@pytest.mark.parametrize("after", EPILOGUES, ids=lambda after: "-".join(after) or "plain")
@pytest.mark.parametrize(("image", "kernel", "attrs"), CASES)
def test_result_is_that_of_onnxruntime(
    image: tuple[int, ...], kernel: tuple[int, int], attrs: dict[str, Any], after: tuple[str, ...]
) -> None:
    content, inputs, b = model(image, kernel, attrs, after)
    (want,), (got,) = run_peer(b.model(), inputs), Engine(content, batch_size=image[0]).run([inputs["x"]])
    np.testing.assert_allclose(got, want, rtol=0, atol=2**-19 * (kernel[0] * kernel[1] + 8))


@pytest.mark.parametrize("strides", [[1, 1], [2, 2]])
def test_bits_do_not_depend_on_the_number_of_threads(strides: list[int]) -> None:
    content, inputs, _ = model((2, 6, 40, 112), (3, 3), {"pads": SAME, "strides": strides}, ("Relu",))
    one, two = (Engine(content, batch_size=2, num_cores=cores).run([inputs["x"]])[0] for cores in (1, 2))
    assert np.array_equal(one, two)


def test_what_padding_leaves_out_is_not_multiplied() -> None:
    """Neighbours in memory are the end of the row above, and the start of the row below."""
    content, inputs, b = model((1, 2, 12, 12), (3, 3), {"pads": SAME}, ())
    inputs["x"][0, 0, 5, 11], inputs["x"][0, 1, 5, 0] = np.nan, np.inf
    (want,), (got,) = run_peer(b.model(), inputs), Engine(content).run([inputs["x"]])
    assert np.array_equal(np.isfinite(got), np.isfinite(want))


def test_windows_that_lose_columns_are_laid_out_as_planes() -> None:
    same = Window((9, 20), (9, 20), (3, 3), (1, 1), (1, 1), (1, 1))
    assert is_flat(same)
    assert not is_flat(Window((9, 20), (7, 18), (3, 3), (1, 1), (1, 1), (0, 0)))
