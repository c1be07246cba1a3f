"""Rounding moves into the step that computes, and never changes a number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from form_check import check, node_of, random
from reference.onnx_builder import ModelBuilder

from engine import graph

K, M = 6, 8
FEEDS = {"x": random(2, 3, K)}


def rounded(b: ModelBuilder, x: str, scale: float = 0.0625, zero: int = 99, dtype: type = np.uint8) -> str:
    pair = b.number(scale), b.number(zero, dtype)
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *pair), *pair)


def weight(b: ModelBuilder, k: int = K, m: int = M) -> str:
    whole = np.random.default_rng(k + m).integers(-127, 128, (k, m)).astype(np.int8)
    return b.op("DequantizeLinear", b.weight(whole), b.number(0.03125))


def norm(b: ModelBuilder, x: str, width: int = K) -> str:
    return b.op("LayerNormalization", x, b.weight(random(width)), b.weight(random(width)), axis=-1)


def fed(opset: int = 17) -> tuple[ModelBuilder, str]:
    b = ModelBuilder(opset)
    return b, b.input("x", np.float32, (2, 3, K))


def test_product_stores_rounded_numbers_for_the_next_product() -> None:
    b, x = fed()
    y = b.op("Relu", b.op("Add", b.weight(random(M)), b.op("MatMul", rounded(b, x), weight(b))))
    b.output(b.op("MatMul", rounded(b, y), weight(b, M, 4)))
    after = check(b, FEEDS, {"quantize": 1, "quantized_linear": 2}, exact=True)
    stores = [node.attrs["store"] for node in after.nodes() if node.op == "quantized_linear"]
    assert stores == [("quantized", np.float32(0.0625), 99), None]


def test_rounding_right_behind_a_product_happens_before_the_bias() -> None:
    """The bias of a static int8 model: MatMul, rounding to 8 bits, then Add."""
    b, x = fed()
    product = rounded(b, b.op("MatMul", rounded(b, x), weight(b)), 0.25, 121)
    b.output(b.op("Relu", b.op("Add", b.weight(random(M)), product)))
    after = check(b, FEEDS, {"quantize": 1, "quantized_linear": 1}, exact=True)
    assert node_of(after, "quantized_linear").attrs["product"] == (np.float32(0.25), 121)


def test_rounded_logits_are_one_step() -> None:
    b, x = fed()
    b.output(rounded(b, b.op("MatMul", rounded(b, x), weight(b)), 0.25, 121))
    check(b, FEEDS, {"quantize": 1, "quantized_linear": 1}, exact=True)


def test_norm_leaves_rounded_and_unrounded_rows() -> None:
    b, x = fed()
    rows = norm(b, x)
    product = b.op("MatMul", rounded(b, rows), weight(b, K, K))
    b.output(b.op("Add", product, rows))
    after = check(b, FEEDS, {"layer_norm": 1, "quantized_linear": 1})
    norm_node = node_of(after, "layer_norm")
    assert norm_node.attrs["quantize"] == (np.float32(0.0625), 99)
    assert not norm_node.attrs["rounded"]


def test_norm_whose_rounded_rows_are_the_residual_too() -> None:
    b, x = fed()
    rows = rounded(b, norm(b, x))
    b.output(b.op("Add", b.op("MatMul", rows, weight(b, K, K)), rows))
    after = check(b, FEEDS, {"layer_norm": 1, "quantized_linear": 1})
    assert node_of(after, "layer_norm").attrs["rounded"]


def test_norm_that_is_rounded_in_two_ways_is_rounded_again_beside_it() -> None:
    b, x = fed()
    rows = norm(b, x)
    first = b.op("MatMul", rounded(b, rows), weight(b, K, K))
    second = b.op("MatMul", rounded(b, rows, 0.125, 3), weight(b, K, K))
    b.output(first, second)
    check(b, FEEDS, {"layer_norm": 1, "quantize": 1, "quantized_linear": 2})


def test_norm_whose_rows_are_read_rounded_and_unrounded() -> None:
    b, x = fed()
    rows = norm(b, x)
    coarse = rounded(b, rows)
    b.output(b.op("Add", b.op("MatMul", coarse, weight(b, K, K)), coarse), b.op("Exp", rows))
    after = check(b, FEEDS)
    assert graph.census(after)["DequantizeLinear"] == 0


@pytest.mark.parametrize(("zero", "dtype"), [(99, np.uint8), (-29, np.int8)])
def test_rounding_between_f32_operators_stays_in_f32(zero: int, dtype: type) -> None:
    b, x = fed()
    b.output(b.op("Exp", rounded(b, b.op("Sin", x), 0.01, zero, dtype)))
    check(b, FEEDS, {"Sin": 1, "rounded": 1, "Exp": 1}, exact=True)


def moved_before(b: ModelBuilder, x: str) -> str:
    return b.op("Transpose", rounded(b, x), perm=[0, 2, 1])


def moved_between(b: ModelBuilder, x: str) -> str:
    pair = b.number(0.0625), b.number(99, np.uint8)
    q = b.op("QuantizeLinear", x, *pair)
    return b.op("DequantizeLinear", b.op("Transpose", q, perm=[0, 2, 1]), *pair)


def moved_and_rounded_again(b: ModelBuilder, x: str) -> str:
    return rounded(b, b.op("Transpose", rounded(b, x), perm=[0, 2, 1]))


@pytest.mark.parametrize(
    "form", [moved_before, moved_between, moved_and_rounded_again], ids=lambda form: form.__name__
)
def test_movement_comes_before_rounding(form: Callable[[ModelBuilder, str], str]) -> None:
    b, x = fed()
    b.output(b.op("Exp", form(b, x)))
    check(b, FEEDS, {"Transpose": 1, "rounded": 1, "Exp": 1}, exact=True)


def test_rounding_twice_on_two_scales_is_two_roundings() -> None:
    b, x = fed()
    b.output(rounded(b, rounded(b, x), 0.1, 99))
    check(b, FEEDS, {"quantize": 1, "byte_table": 1, "DequantizeLinear": 1}, exact=True)


def test_product_that_is_read_unrounded_is_rounded_beside_it() -> None:
    b, x = fed()
    y = b.op("MatMul", x, b.weight(random(K, M)))
    b.output(y, b.op("MatMul", rounded(b, y), weight(b, M, 4)))
    check(b, FEEDS, {"linear": 1, "quantize": 1, "quantized_linear": 1})


def test_rounding_by_channel_stays_with_the_operators() -> None:
    b, x = fed()
    pair = b.weight(np.abs(random(K)) + 0.1), b.weight(np.arange(K, dtype=np.uint8))
    b.output(b.op("DequantizeLinear", b.op("QuantizeLinear", x, *pair, axis=-1), *pair, axis=-1))
    check(b, FEEDS, {"QuantizeLinear": 1, "DequantizeLinear": 1}, exact=True)


def test_different_parameters_on_both_sides_are_kept() -> None:
    b, x = fed()
    q = b.op("QuantizeLinear", x, b.number(0.1), b.number(7, np.uint8))
    b.output(b.op("DequantizeLinear", q, b.number(0.2), b.number(9, np.uint8)))
    check(b, FEEDS, {"quantize": 1, "DequantizeLinear": 1}, exact=True)


def test_roundings_around_a_bias_and_a_residual_are_one_step() -> None:
    b, x = fed()
    q = rounded(b, x)
    product = rounded(b, b.op("MatMul", q, weight(b, K, K)), 0.25, 121)
    summed = rounded(b, b.op("Add", b.weight(random(K)), product), 0.3, 99)
    b.output(b.op("Exp", rounded(b, b.op("Add", summed, b.op("Sin", x)), 0.5, 130)))
    wanted = {"quantize": 1, "Sin": 1, "quantized_linear": 1, "Exp": 1}
    found = node_of(check(b, FEEDS, wanted, exact=True), "quantized_linear")
    assert found.attrs["product"] == (np.float32(0.25), 121)
    assert found.attrs["summed"] == (np.float32(0.3), 99)
    assert found.attrs["store"] == ("rounded", np.float32(0.5), 130)


@pytest.mark.parametrize("step", [0.25, 0.04])
def test_bytes_of_a_product_take_their_bias_in_its_step(step: float) -> None:
    b, x = fed()
    pair = b.number(0.0625), b.number(99, np.uint8)
    operands = (b.op("QuantizeLinear", x, *pair), *pair)
    w = np.random.default_rng(5).integers(-20, 20, (K, M)).astype(np.int8)
    weights = (b.weight(w), b.number(0.01), b.number(0, np.int8))
    scale, zero = b.number(step), b.number(120, np.uint8)
    y = b.op("DequantizeLinear", b.op("QLinearMatMul", *operands, *weights, scale, zero), scale, zero)
    b.output(rounded(b, b.op("Add", y, b.weight(random(M))), 0.3, 140))
    after = check(b, FEEDS, {"quantize": 1, "quantized_linear": 1}, exact=True, peer=False)
    found = node_of(after, "quantized_linear").attrs
    assert found["product"] == (np.float32(1), 120, np.float32(step))
    assert found["store"] == ("rounded", np.float32(0.3), 140)


def test_bytes_of_a_product_that_are_read_elsewhere_stay() -> None:
    b, x = fed()
    pair = b.number(0.0625), b.number(99, np.uint8)
    weights = (b.weight(np.ones((K, M), np.int8)), b.number(0.01), b.number(0, np.int8))
    q = b.op("QLinearMatMul", b.op("QuantizeLinear", x, *pair), *pair, *weights, b.number(0.25), pair[1])
    y = b.op("Add", b.op("DequantizeLinear", q, b.number(0.25), pair[1]), b.weight(random(M)))
    b.output(y, q)
    check(b, FEEDS, {"quantize": 1, "quantized_linear": 1, "DequantizeLinear": 1, "Add": 1}, peer=False)
