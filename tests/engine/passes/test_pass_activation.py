"""Activations behind products and convolutions are computed in their steps, and compute the same there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from form_check import check, node_of, random
from reference.onnx_builder import ModelBuilder

from engine import Engine, graph

IMAGE = (1, 4, 6, 7)
Step = Callable[[ModelBuilder, str], str]


def _clip(low: float | None, high: float | None) -> Step:
    def made(b: ModelBuilder, y: str) -> str:
        bounds = ["" if bound is None else b.weight(np.float32(bound)) for bound in (low, high)]
        return b.op("Clip", y, *(bounds if bounds[1] else bounds[:1]))

    return made


STEPS: dict[Any, Step] = {
    "relu": lambda b, y: b.op("Relu", y),
    "sigmoid": lambda b, y: b.op("Sigmoid", y),
    "hard_swish": lambda b, y: b.op("HardSwish", y),
    "silu": lambda b, y: b.op("Mul", b.op("Sigmoid", y), y),
    ("leaky_relu", 0.125): lambda b, y: b.op("LeakyRelu", y, alpha=0.125),
    ("hard_sigmoid", 0.25, 0.5): lambda b, y: b.op("HardSigmoid", y, alpha=0.25, beta=0.5),
    ("clip", 0.0, 6.0): _clip(0, 6),
    ("clip", -1.0, np.inf): _clip(-1, None),
    ("clip", -np.inf, 0.5): _clip(None, 0.5),
    ("clip", 0.0, 0.5): lambda b, y: _clip(None, 0.5)(b, b.op("Relu", y)),
}


def _convolution(b: ModelBuilder, x: str, *, depthwise: bool) -> str:
    shape = (4, 1, 3, 3) if depthwise else (5, 4, 3, 3)
    return b.op("Conv", x, b.weight(random(*shape)), b.weight(random(shape[0])), group=4 if depthwise else 1)


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("wanted", STEPS)
def test_activation_is_the_convolutions(wanted: Any, depthwise: bool) -> None:
    b = ModelBuilder(17)
    x = random(*IMAGE)
    b.output(STEPS[wanted](b, _convolution(b, b.input("x", np.float32, IMAGE), depthwise=depthwise)))
    op = "depthwise" if depthwise else "linear"
    census = {"pixels": 1, op: 1, "image": 1} | ({} if depthwise else {"windows": 1})
    after = check(b, {"x": x}, census, atol=1e-4)
    assert node_of(after, op).attrs["activation"] == wanted
    (want,) = graph.evaluate(after, {"x": x})
    (got,) = Engine(b.model().SerializeToString()).run([x])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-5)


def test_nan_stays_within_bounds_as_in_clip() -> None:
    b = ModelBuilder(17)
    x = random(*IMAGE)
    x[0, :, 0, 0] = np.nan
    b.output(_clip(0, 6)(b, _convolution(b, b.input("x", np.float32, IMAGE), depthwise=True)))
    (got,) = Engine(b.model().SerializeToString()).run([x])
    assert np.array_equal(np.argwhere(np.isnan(got[0, 0])), [[0, 0]])


def test_a_product_that_others_read_stays_as_it_is() -> None:
    b = ModelBuilder(17)
    y = _convolution(b, b.input("x", np.float32, IMAGE), depthwise=False)
    b.output(_clip(0, 6)(b, y), y)
    after = check(b, {"x": random(*IMAGE)}, atol=1e-4)
    assert node_of(after, "linear").attrs["activation"] == "none"


def test_an_upper_bound_before_a_lower_one_stays_outside() -> None:
    """Where they cross, the later one wins."""
    b = ModelBuilder(17)
    y = _convolution(b, b.input("x", np.float32, IMAGE), depthwise=False)
    b.output(b.op("Max", b.op("Min", y, b.weight(np.float32(-1))), b.weight(np.float32(1))))
    after = check(b, {"x": random(*IMAGE)}, atol=1e-4)
    assert graph.census(after)["Max"] == 1
