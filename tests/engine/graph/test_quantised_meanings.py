"""Quantised operators against oracles written from the operators' texts: ties, odd zero points, saturation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import quantised_oracle as oracle

from engine import graph
from engine.graph.ops import OPS

TIES = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 1e30, -1e30, np.inf, -np.inf, np.nan], np.float32)


def run(op: str, *arrays: Any, **attrs: Any) -> np.ndarray:
    return OPS[op].evaluate(attrs, *arrays)[0]


@pytest.mark.parametrize("zero", [0, 1, 127, 255])
def test_rounding_is_half_to_even_before_the_zero_point(zero: int) -> None:
    found = run("QuantizeLinear", TIES, np.float32(1), np.uint8(zero), axis=0)
    whole = np.array([-2, -2, 0, 0, 2, 2, 4, 1e30, -1e30, np.inf, -np.inf, 0]) + zero
    whole[-1] = 0
    np.testing.assert_array_equal(found, np.clip(whole, 0, 255).astype(np.uint8))
    np.testing.assert_array_equal(run("quantize", TIES, scale=np.float32(1), zero_point=zero), found)


def test_quotients_are_true_divisions() -> None:
    """x * (1 / s) rounds some of these to the other side."""
    x = (np.arange(-260, 260, dtype=np.float32) + np.float32(0.5)) * np.float32(0.1)
    found = run("QuantizeLinear", x, np.float32(0.1), np.int8(0), axis=0)
    np.testing.assert_array_equal(found, oracle.quantize(x, 0.1, 0, np.int8))


@given(
    x=hnp.arrays(np.float32, st.integers(0, 20), elements=st.floats(-300, 300, width=32)),
    scale=st.sampled_from([0.5, 0.1, 0.0123, 2.0]),
    zero=st.integers(0, 255),
)
def test_centre_is_quantised_and_dequantised_by_one(x: np.ndarray, scale: float, zero: int) -> None:
    whole = run("centre", x, scale=np.float32(scale), zero_point=zero)
    np.testing.assert_array_equal(whole, oracle.dequantize(oracle.quantize(x, scale, zero), 1.0, zero))


def test_dequantising_32_bits_converts_before_it_multiplies() -> None:
    x = np.array([2**24 + 1, -(2**24) - 1], np.int32)
    np.testing.assert_array_equal(
        run("DequantizeLinear", x, np.float32(1), None, axis=0), x.astype(np.float32)
    )


@given(
    a_zero=st.integers(0, 255), b_zero=st.integers(-128, 127), k=st.integers(1, 9), seed=st.integers(0, 99)
)
def test_integer_products_are_exact(a_zero: int, b_zero: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 256, (3, k)).astype(np.uint8), rng.integers(-128, 128, (k, 4)).astype(np.int8)
    found = run("MatMulInteger", a, b, np.uint8(a_zero), np.int8(b_zero))
    np.testing.assert_array_equal(found, oracle.integer_product(a, b, a_zero, b_zero))


def test_integer_products_take_zero_points_by_row_and_column() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 256, (3, 5)).astype(np.uint8), rng.integers(0, 256, (5, 4)).astype(np.uint8)
    rows, columns = np.array([1, 2, 3], np.uint8), np.array([4, 5, 6, 7], np.uint8)
    expected = (a.astype(np.int64) - rows[:, None].astype(np.int64)) @ (
        b.astype(np.int64) - columns.astype(np.int64)
    )
    np.testing.assert_array_equal(run("MatMulInteger", a, b, rows, columns), expected)


def test_sums_of_the_largest_products_do_not_saturate() -> None:
    a, b = np.full((1, 4), 255, np.uint8), np.full((4, 1), 127, np.int8)
    assert run("MatMulInteger", a, b, None, None)[0, 0] == 129540


def test_padding_of_an_integer_convolution_counts_as_zero() -> None:
    rng = np.random.default_rng(6)
    x, w = (
        rng.integers(0, 256, (2, 3, 5, 4)).astype(np.uint8),
        rng.integers(0, 256, (4, 3, 3, 3)).astype(np.uint8),
    )
    attrs = {"group": 1, "strides": (1, 1), "dilations": (1, 1), "pads": (1,) * 4}
    expected = oracle.integer_conv(x, w, 77, 128, 1)
    np.testing.assert_array_equal(run("ConvInteger", x, w, np.uint8(77), np.uint8(128), **attrs), expected)
    bias = np.arange(4, dtype=np.int32) * 100
    scales = np.array([0.5, 0.25, 1, 2], np.float32)
    sides = (
        (x, np.float32(0.5), np.uint8(77)),
        (w, scales, np.uint8(128)),
        (np.float32(64), np.uint8(31), bias),
    )
    whole = run("QLinearConv", *sides[0], *sides[1], *sides[2], **attrs)
    multiplier = (np.float32(0.5) * scales / np.float32(64)).reshape(1, -1, 1, 1)
    np.testing.assert_array_equal(
        whole, oracle.requantize(expected + bias.reshape(1, -1, 1, 1), multiplier, 31)
    )


@pytest.mark.parametrize("zero", [0, 1, 101])
def test_requantised_products_round_before_the_zero_point(zero: int) -> None:
    a, b = np.array([[1], [3], [5], [7]], np.uint8), np.ones((1, 1), np.int8)
    found = run(
        "QLinearMatMul",
        a,
        np.float32(0.5),
        np.uint8(0),
        b,
        np.float32(1),
        np.int8(0),
        np.float32(1),
        np.uint8(zero),
    )
    np.testing.assert_array_equal(found.ravel(), np.array([0, 2, 2, 4]) + zero)


@pytest.mark.parametrize(
    ("x", "zero"),
    [([0.0, 2.0], 0), ([-1.0, 1.0], 127), ([3.0, 5.0], 0), ([-4.0, -2.0], 255), ([0.0, 0.0], 0)],
)
def test_dynamic_range_includes_zero(x: list[float], zero: int) -> None:
    array = np.array(x, np.float32)
    y, scale, found = OPS["DynamicQuantizeLinear"].evaluate({}, array)
    assert found == zero
    assert np.abs(oracle.dequantize(y, scale, int(found)) - array).max() <= 0.5 * float(scale) + 1e-6


ATTRS: dict[str, Any] = {
    "weight_axes": "km",
    "activation": "none",
    "store": None,
    "zero_point": 3,
    "weight_zero": 128,
}


@pytest.mark.parametrize("product", [None, (np.float32(0.5), 120)])
@pytest.mark.parametrize("axes", ["km", "mk"])
def test_quantised_linear_is_its_formula(product: tuple[np.float32, int] | None, axes: str) -> None:
    rng = np.random.default_rng(8)
    x, w = rng.integers(0, 9, (2, 5)).astype(np.uint8), rng.integers(0, 256, (5, 4)).astype(np.uint8)
    scale, whole = np.array([0.5], np.float32), np.arange(4, dtype=np.int32)
    bias, residual = rng.standard_normal(4).astype(np.float32), rng.standard_normal((2, 4)).astype(np.float32)
    attrs = {
        **ATTRS,
        "weight_axes": axes,
        "product": product,
        "activation": "relu",
        "store": ("centred", np.float32(0.25), 9),
    }
    y = (oracle.integer_product(x, w, 3, 128) + whole).astype(np.float32) * scale
    if product is not None:
        y = oracle.dequantize(oracle.quantize(y, 0.5, 120), 0.5, 120)
    y = np.maximum(y + bias + residual, 0)
    expected = oracle.dequantize(oracle.quantize(y, 0.25, 9), 1.0, 9)
    weights = w if axes == "km" else np.ascontiguousarray(w.T)
    found = run("quantized_linear", x, weights, scale, whole, bias, residual, **attrs)
    np.testing.assert_array_equal(found, expected)
    kind = graph.node(
        "quantized_linear",
        graph.graph_input("x", x.dtype, x.shape),
        *(graph.constant(np.asarray(array)) for array in (weights, scale, whole, bias)),
        graph.graph_input("r", residual.dtype, residual.shape),
        **attrs,
    ).types[0]
    assert (kind.dtype, kind.shape) == (found.dtype, found.shape)
