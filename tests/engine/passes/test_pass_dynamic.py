"""Products of activations that are quantised at run time, and bounds written as Clip."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from form_check import check, compiled, node_of, random
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder

from engine import graph

ROWS, K, M = 4, 6, 5


def weights(dtype: Any = np.int8, seed: int = 1) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, (K, M), endpoint=True).astype(dtype)


def product(b: ModelBuilder, w: np.ndarray, w_zero: Any, scale: Any, order: int = 0) -> dict[str, str]:
    """The chain of ONNX Runtime's quantiser; `order` swaps the operands of its two products of scales."""
    x = b.input("x", np.float32, (2, ROWS, K))
    xq, x_scale, x_zero = b.ops("DynamicQuantizeLinear", x, count=3)
    sums = b.op("MatMulInteger", xq, b.weight(w), x_zero, b.weight(w_zero))
    cast, own = b.op("Cast", sums, to=1), b.weight(scale)
    factor = b.op("Mul", *((x_scale, own) if order % 2 else (own, x_scale)))
    y = b.op("Mul", *((cast, factor) if order // 2 else (factor, cast)))
    return {
        "y": y,
        "xq": xq,
        "x_scale": x_scale,
        "x_zero": x_zero,
        "sums": sums,
        "cast": cast,
        "factor": factor,
    }


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("channels", [False, True])
def test_dynamic_product_is_one_node(order: int, channels: bool) -> None:
    b = ModelBuilder()
    scale = np.linspace(0.01, 0.02, M).astype(np.float32) if channels else np.float32(0.015)
    zeros = np.zeros(M, np.int8) if channels else np.int8(0)
    y = product(b, weights(), zeros, scale, order)["y"]
    b.output(b.op("Relu", b.op("Add", b.weight(random(M)), y)))
    after = check(
        b, {"x": random(2, ROWS, K)}, {"DynamicQuantizeLinear": 1, "dynamic_quantized_linear": 1}, exact=True
    )
    assert node_of(after, "dynamic_quantized_linear").attrs["activation"] == "relu"


def test_one_quantisation_serves_several_products() -> None:
    b = ModelBuilder()
    names = product(b, weights(), np.int8(0), np.float32(0.01))
    second = b.op("MatMulInteger", names["xq"], b.weight(weights(seed=2)), names["x_zero"])
    scale = b.op("Mul", names["x_scale"], b.number(0.02))
    b.output(names["y"], b.op("Mul", b.op("Cast", second, to=1), scale))
    check(
        b, {"x": random(2, ROWS, K)}, {"DynamicQuantizeLinear": 1, "dynamic_quantized_linear": 2}, exact=True
    )


@pytest.mark.parametrize("tap", ["sums", "cast"])
def test_dynamic_product_whose_inside_is_an_output_stays(tap: str) -> None:
    b = ModelBuilder()
    names = product(b, weights(), np.int8(0), np.float32(0.01))
    b.output(names["y"], names[tap])
    after = check(b, {"x": random(2, ROWS, K)}, exact=True)
    assert graph.census(after)["MatMulInteger"] == 1


def test_zero_point_of_another_quantisation_keeps_the_chain() -> None:
    b = ModelBuilder()
    x, other = b.input("x", np.float32, (ROWS, K)), b.input("other", np.float32, (3,))
    xq, x_scale, _ = b.ops("DynamicQuantizeLinear", x, count=3)
    _, _, zero = b.ops("DynamicQuantizeLinear", other, count=3)
    sums = b.op("MatMulInteger", xq, b.weight(weights()), zero)
    b.output(b.op("Mul", b.op("Cast", sums, to=1), b.op("Mul", x_scale, b.number(0.01))))
    after = check(b, {"x": random(ROWS, K), "other": random(3)}, exact=True)
    assert graph.census(after)["dynamic_quantized_linear"] == 0


def test_scale_that_is_not_constant_keeps_the_chain() -> None:
    b = ModelBuilder()
    x, scale = b.input("x", np.float32, (ROWS, K)), b.input("scale", np.float32, (M,))
    xq, x_scale, zero = b.ops("DynamicQuantizeLinear", x, count=3)
    sums = b.op("MatMulInteger", xq, b.weight(weights()), zero)
    b.output(b.op("Mul", b.op("Cast", sums, to=1), b.op("Mul", x_scale, scale)))
    after = check(b, {"x": random(ROWS, K), "scale": random(M)}, exact=True)
    assert graph.census(after)["dynamic_quantized_linear"] == 0


def test_nine_bit_weights_with_bias_and_residual_are_two_products() -> None:
    b = ModelBuilder()
    y = product(b, weights(np.uint8), np.uint8(90), np.float32(0.01))["y"]
    shifted = b.op("Add", b.op("Add", y, b.weight(random(M))), b.input("r", np.float32, (2, ROWS, M)))
    b.output(shifted)
    feeds = {"x": random(2, ROWS, K), "r": random(2, ROWS, M, seed=4)}
    check(b, feeds, {"DynamicQuantizeLinear": 1, "dynamic_quantized_linear": 2})


@given(
    numbers=st.lists(st.floats(-1e3, 1e3, width=32), min_size=ROWS * K, max_size=ROWS * K),
    unsigned=st.booleans(),
    zero=st.sampled_from([0, 128, 100, 255]),
)
def test_dynamic_product_keeps_every_rounding(numbers: list[float], unsigned: bool, zero: int) -> None:
    b = ModelBuilder()
    dtype = np.uint8 if unsigned else np.int8
    w_zero = np.asarray(zero if unsigned else 0, dtype)
    x = b.input("x", np.float32, (ROWS, K))
    xq, x_scale, x_zero = b.ops("DynamicQuantizeLinear", x, count=3)
    sums = b.op("MatMulInteger", xq, b.weight(weights(dtype)), x_zero, b.weight(w_zero))
    b.output(b.op("Mul", b.op("Cast", sums, to=1), b.op("Mul", x_scale, b.number(0.25))))
    feeds = {"x": np.asarray(numbers, np.float32).reshape(ROWS, K)}
    before, after = compiled(b, feeds)
    np.testing.assert_allclose(
        graph.evaluate(after, feeds)[0], graph.evaluate(before, feeds)[0], rtol=1e-6, atol=1e-4
    )


WEIRD = np.array([[-np.inf, -7.0, -0.5, 0.0], [0.5, 7.0, np.inf, np.nan]], np.float32)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (None, 2.0), (-1.0, None), (3.0, -3.0), (None, None)])
def test_clip_is_written_as_bounds(low: float | None, high: float | None) -> None:
    b = ModelBuilder()
    bounds = ["" if bound is None else b.number(bound) for bound in (low, high)]
    b.output(b.op("Clip", b.input("x", np.float32, (2, 4)), *bounds))
    wanted = {op: 1 for op, bound in (("Max", low), ("Min", high)) if bound is not None}
    check(b, {"x": WEIRD}, wanted, exact=True, peer=False)
