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
    ("swish", np.float32(1.702)): lambda b, y: b.op(
        "Mul", b.op("Sigmoid", b.op("Mul", y, b.number(1.702))), y
    ),
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


@pytest.mark.parametrize("alpha", [None, 0.5, 1.0])
def test_gate_of_the_runtime_s_own_domain(alpha: float | None) -> None:
    b = ModelBuilder(17, {"com.microsoft": 1})
    y = b.op("MatMul", b.input("x", np.float32, (2, 5)), b.weight(random(5, 7)))
    y = b.op("Add", y, b.weight(random(7)))
    b.output(b.op("QuickGelu", y, domain="com.microsoft", **({} if alpha is None else {"alpha": alpha})))
    after = check(b, {"x": random(2, 5)}, {"linear": 1})
    slope = np.float32(1.702 if alpha is None else alpha)
    assert node_of(after, "linear").attrs["activation"] == ("silu" if slope == 1 else ("swish", slope))


def test_gate_of_integer_products() -> None:
    b = ModelBuilder(17)
    quantised, scale, zero_point = b.ops("DynamicQuantizeLinear", b.input("x", np.float32, (3, 8)), count=3)
    w = np.random.default_rng(5).integers(-127, 128, (8, 6)).astype(np.int8)
    sums = b.op("MatMulInteger", quantised, b.weight(w), zero_point, b.weight(np.int8(0)))
    factor = b.op("Mul", scale, b.weight(np.float32(0.01)))
    y = b.op("Add", b.op("Mul", b.op("Cast", sums, to=1), factor), b.weight(random(6)))
    b.output(b.op("Mul", y, b.op("Sigmoid", b.op("Mul", y, b.number(1.702)))))
    after = check(b, {"x": random(3, 8)})
    assert node_of(after, "dynamic_quantized_linear").attrs["activation"] == ("swish", np.float32(1.702))


@pytest.mark.parametrize("read", ["gate", "product"])
def test_gate_that_others_read_stays_outside(read: str) -> None:
    b = ModelBuilder(17)
    y = b.op("MatMul", b.input("x", np.float32, (2, 5)), b.weight(random(5, 7)))
    gate = b.op("Sigmoid", b.op("Mul", y, b.number(1.702)))
    b.output(b.op("Mul", y, gate), gate if read == "gate" else y)
    after = check(b, {"x": random(2, 5)})
    assert node_of(after, "linear").attrs["activation"] == "none"


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
