"""Products of quantised activations and weights become quantized_linear with the same integer results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from form_check import check, node_of, random
from hypothesis import given
from hypothesis import strategies as st
from reference import quantised_oracle as oracle
from reference.onnx_builder import ModelBuilder

from engine import graph

K, M, ROWS = 6, 5, 4
# A power of two: no product or quotient with it rounds, so ties do occur and results are bit-equal.
SCALE = 0.125


@dataclass(frozen=True)
class Dense:
    """A quantised dense layer: dtypes and zero points of activations and weights, scales per channel or not."""

    x_dtype: type = np.uint8
    x_zero: int = 117
    w_dtype: type = np.int8
    w_zero: int = 0
    per_channel: bool = False
    k: int = K
    m: int = M

    def x(self) -> np.ndarray:
        return np.random.default_rng(1).integers(-40, 40, (ROWS, self.k)).astype(np.float32) * np.float32(
            SCALE / 2
        )

    def w(self) -> np.ndarray:
        return (np.random.default_rng(2).integers(-128, 128, (self.k, self.m)) + self.w_zero).astype(
            self.w_dtype
        )

    def w_scale(self) -> np.ndarray:
        powers = np.arange(self.m) if self.per_channel else np.asarray(2)
        return np.asarray(0.5 ** powers.astype(np.float64), np.float32)


LAYERS = [
    Dense(),
    Dense(per_channel=True),
    Dense(w_dtype=np.uint8, w_zero=128),
    Dense(x_dtype=np.int8, x_zero=-11),
    Dense(x_dtype=np.int8, x_zero=5, w_dtype=np.uint8, w_zero=128, per_channel=True),
    Dense(k=1),
    Dense(m=1),
    Dense(k=1, m=1, per_channel=True),
]


def quantised(b: ModelBuilder, x: str, layer: Dense) -> tuple[str, str, str]:
    scale, zero = b.number(SCALE), b.number(layer.x_zero, layer.x_dtype)
    return b.op("QuantizeLinear", x, scale, zero), scale, zero


def dequantised_weight(b: ModelBuilder, layer: Dense, *, transposed: bool = False) -> str:
    zeros: np.ndarray = np.full(layer.w_scale().shape, layer.w_zero, layer.w_dtype)
    w = layer.w().T.copy() if transposed else layer.w()
    axis = {"axis": 0 if transposed else 1} if layer.per_channel else {}
    return b.op("DequantizeLinear", b.weight(w), b.weight(layer.w_scale()), b.weight(zeros), **axis)


def qdq(b: ModelBuilder, layer: Dense) -> str:
    q = quantised(b, b.input("x", np.float32, (ROWS, layer.k)), layer)
    return b.op("MatMul", b.op("DequantizeLinear", *q), dequantised_weight(b, layer))


def expected(layer: Dense) -> np.ndarray:
    xq = oracle.quantize(layer.x(), SCALE, layer.x_zero, layer.x_dtype)
    sums = oracle.integer_product(xq, layer.w(), layer.x_zero, layer.w_zero)
    return sums.astype(np.float32) * (np.float32(SCALE) * layer.w_scale())


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_product_of_dequantised_operands_is_exact(layer: Dense) -> None:
    b = ModelBuilder()
    b.output(qdq(b, layer))
    after = check(b, {"x": layer.x()}, {"quantize": 1, "quantized_linear": 1}, exact=True)
    np.testing.assert_array_equal(graph.evaluate(after, {"x": layer.x()})[0], expected(layer))


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_weights_quantised_in_the_graph_are_quantised_while_binding(layer: Dense) -> None:
    """A training graph: f32 weights behind a pair of QuantizeLinear and DequantizeLinear."""
    if layer.w_zero:
        layer = Dense(layer.x_dtype, layer.x_zero, per_channel=layer.per_channel, k=layer.k, m=layer.m)
    b = ModelBuilder()
    q = quantised(b, b.input("x", np.float32, (ROWS, layer.k)), layer)
    axis = {"axis": 0} if layer.per_channel else {}
    pair = b.weight(layer.w_scale()), b.weight(np.zeros(layer.w_scale().shape, np.int8))
    scale = layer.w_scale().reshape(-1, 1) if layer.per_channel else layer.w_scale()
    wq = b.op("QuantizeLinear", b.weight(layer.w().T.astype(np.float32) * scale), *pair, **axis)
    w = b.op("Transpose", b.op("DequantizeLinear", wq, *pair, **axis), perm=[1, 0])
    b.output(b.op("MatMul", b.op("DequantizeLinear", *q), w))
    after = check(b, {"x": layer.x()}, {"quantize": 1, "quantized_linear": 1}, exact=True)
    assert node_of(after, "quantized_linear").attrs["weight_axes"] == "mk"


def integer_form(b: ModelBuilder, layer: Dense, bias: np.ndarray | None, scale: Any) -> str:
    xq, _, zero = quantised(b, b.input("x", np.float32, (ROWS, layer.k)), layer)
    y = b.op("MatMulInteger", xq, b.weight(layer.w()), zero, b.number(layer.w_zero, layer.w_dtype))
    if bias is not None:
        y = b.op("Add", b.weight(bias), y)
    return b.op("Mul", b.op("Cast", y, to=1), b.weight(np.asarray(scale, np.float32)))


@pytest.mark.parametrize("layer", LAYERS[:5], ids=str)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("scale", [0.013, [0.017], "row"])
def test_integer_product_with_bias_and_scale_is_bit_equal(layer: Dense, biased: bool, scale: Any) -> None:
    b = ModelBuilder()
    bias = np.arange(-2, 3, dtype=np.int32) * 1000 if biased else None
    b.output(integer_form(b, layer, bias, np.linspace(0.001, 0.2, M) if scale == "row" else scale))
    after = check(
        b,
        {"x": layer.x()},
        {"quantize": 1, "quantized_linear": 1},
        exact=True,
        peer=layer.x_dtype == np.uint8,
    )
    assert len(node_of(after, "quantized_linear").inputs) == (4 if biased else 3)


def test_products_with_one_input_share_its_rounding() -> None:
    """Signed activations: each reader makes the unsigned rounding of its own, sharing makes it one."""
    for dtype, zero in ((np.uint8, 100), (np.int8, -28)):
        layer = Dense(x_dtype=dtype, x_zero=zero)
        b = ModelBuilder()
        q = quantised(b, b.input("x", np.float32, (ROWS, K)), layer)
        x = b.op("DequantizeLinear", *q)
        weights = [np.roll(layer.w(), turn, 0) for turn in range(3)]
        b.output(*(b.op("MatMul", x, b.op("DequantizeLinear", b.weight(w), b.number(1))) for w in weights))
        after = check(b, {"x": layer.x()}, {"quantize": 1, "quantized_linear": 3}, exact=True)
        assert node_of(after, "quantize").attrs["zero_point"] == 100


@pytest.mark.parametrize("bias", ["i32", "f32", "none"])
@pytest.mark.parametrize("layer", [Dense(), Dense(per_channel=True)], ids=str)
def test_gemm_takes_its_bias(layer: Dense, bias: str) -> None:
    b = ModelBuilder()
    q = quantised(b, b.input("x", np.float32, (ROWS, K)), layer)
    operands = [b.op("DequantizeLinear", *q), dequantised_weight(b, layer, transposed=True)]
    if bias == "i32":
        scale = (np.float32(SCALE) * layer.w_scale()).astype(np.float32)
        axis = {"axis": 0} if layer.per_channel else {}
        operands.append(
            b.op("DequantizeLinear", b.weight(np.arange(M, dtype=np.int32) - 2), b.weight(scale), **axis)
        )
    if bias == "f32":
        operands.append(b.weight(random(M)))
    b.output(b.op("Gemm", *operands, transB=1))
    after = check(b, {"x": layer.x()}, {"quantize": 1, "quantized_linear": 1}, exact=bias != "f32")
    assert len(node_of(after, "quantized_linear").inputs) == {"i32": 4, "f32": 5, "none": 3}[bias]


def test_bias_on_another_scale_is_added_as_f32() -> None:
    b = ModelBuilder()
    q = quantised(b, b.input("x", np.float32, (ROWS, K)), Dense())
    bias = b.op("DequantizeLinear", b.weight(np.arange(M, dtype=np.int32)), b.number(0.3))
    w = dequantised_weight(b, Dense(), transposed=True)
    b.output(b.op("Gemm", b.op("DequantizeLinear", *q), w, bias, transB=1))
    check(b, {"x": Dense().x()})


def test_requantising_product_rounds_as_the_text_says() -> None:
    layer = Dense(x_zero=3)
    b = ModelBuilder()
    xq = b.input("x", np.uint8, (ROWS, K))
    parameters = [
        b.number(0.5),
        b.number(3, np.uint8),
        b.weight(layer.w()),
        b.number(0.25),
        b.number(0, np.int8),
    ]
    y = b.op("QLinearMatMul", xq, *parameters, b.number(16), b.number(101, np.uint8))
    b.output(y)
    x = np.random.default_rng(5).integers(0, 9, (ROWS, K)).astype(np.uint8)
    after = check(b, {"x": x}, {"quantized_linear": 1}, exact=True)
    sums = oracle.integer_product(x, layer.w(), 3, 0)
    np.testing.assert_array_equal(
        graph.evaluate(after, {"x": x})[0], oracle.requantize(sums, 0.5 * 0.25 / 16, 101)
    )


def zeros_that_differ(b: ModelBuilder, x: str) -> str:
    zeros = b.weight(np.arange(M, dtype=np.int8))
    return b.op(
        "MatMul",
        x,
        b.op("DequantizeLinear", b.weight(Dense().w()), b.weight(np.ones(M, np.float32)), zeros, axis=1),
    )


def scales_along_inputs(b: ModelBuilder, x: str) -> str:
    return b.op(
        "MatMul", x, b.op("DequantizeLinear", b.weight(Dense().w()), b.weight(np.ones(K, np.float32)), axis=0)
    )


@pytest.mark.parametrize(
    ("form", "op"), [(zeros_that_differ, "weight_only_linear"), (scales_along_inputs, "linear")]
)
def test_other_weights_are_multiplied_as_f32(form: Any, op: str) -> None:
    b = ModelBuilder()
    q = quantised(b, b.input("x", np.float32, (ROWS, K)), Dense())
    b.output(form(b, b.op("DequantizeLinear", *q)))
    after = check(b, {"x": Dense().x()})
    assert graph.census(after)[op] == 1
    assert graph.census(after)["quantized_linear"] == 0


@pytest.mark.parametrize("inside", ["MatMulInteger", "Add", "Cast"])
def test_integer_product_whose_inside_is_an_output_stays(inside: str) -> None:
    b = ModelBuilder()
    y = integer_form(b, Dense(), np.arange(M, dtype=np.int32), 0.01)
    b.output(y, next(node.output[0] for node in b.nodes if node.op_type == inside))
    after = check(b, {"x": Dense().x()}, exact=True)
    assert graph.census(after)["MatMulInteger"] == 1


@given(
    x_zero=st.integers(0, 255),
    out_zero=st.integers(0, 255),
    scale=st.sampled_from([0.5, 1.0, 2.0, 0.3]),
    numbers=st.lists(st.integers(-64, 64), min_size=K, max_size=K),
)
def test_rounded_output_of_a_product_is_the_unfused_one(
    x_zero: int, out_zero: int, scale: float, numbers: list[int]
) -> None:
    """Ties included: the scale of the sums is a power of two, zero points are odd as often as not."""
    layer = Dense(x_zero=x_zero)
    b = ModelBuilder()
    y = integer_form(b, layer, np.arange(M, dtype=np.int32), 0.25)
    b.output(b.op("QuantizeLinear", y, b.number(scale), b.number(out_zero, np.uint8)))
    x = np.tile(np.array(numbers, np.float32) * np.float32(SCALE), (ROWS, 1))
    after = check(b, {"x": x}, {"quantize": 1, "quantized_linear": 1}, exact=True, peer=False)
    xq = oracle.quantize(x, SCALE, x_zero)
    sums = oracle.integer_product(xq, layer.w(), x_zero, 0) + np.arange(M)
    np.testing.assert_array_equal(
        graph.evaluate(after, {"x": x})[0],
        oracle.quantize(sums.astype(np.float32) * np.float32(0.25), scale, out_zero),
    )


@pytest.mark.parametrize(
    ("zero", "highest"), [(3, 255), (255, 255), (100, 255), (1, 255), (0, 254), (120, 250)]
)
@pytest.mark.parametrize("form", ["qdq", "integer", "qlinear"])
def test_weights_of_nine_bits_are_multiplied_in_two_parts(form: str, zero: int, highest: int) -> None:
    b = ModelBuilder()
    rng = np.random.default_rng(zero)
    array = rng.integers(0, highest, (K, M), endpoint=True).astype(np.uint8)
    array[0, :2] = 0, highest
    w, w_zero, scale = b.weight(array), b.number(zero, np.uint8), b.number(0.25)
    q, *parameters = quantised(b, b.input("x", np.float32, (ROWS, K)), Dense())
    bias = b.weight(rng.standard_normal(M).astype(np.float32))
    if form == "integer":
        sums = b.op("Cast", b.op("MatMulInteger", q, w, parameters[1], w_zero), to=1)
        y = b.op("Add", b.op("Mul", sums, scale), bias)
    elif form == "qdq":
        real = b.op("DequantizeLinear", q, *parameters)
        y = b.op("Add", b.op("MatMul", real, b.op("DequantizeLinear", w, scale, w_zero)), bias)
    else:
        y = b.op("QLinearMatMul", q, *parameters, w, scale, w_zero, b.number(16), b.number(100, np.uint8))
    b.output(y)
    after = check(
        b, {"x": Dense().x()}, {"quantize": 1, "quantized_linear": 2}, atol=0 if form == "qlinear" else 1e-3
    )
    parts = [node.attrs["weight_zero"] for node in after.nodes() if node.op == "quantized_linear"]
    assert parts == [0, 0]


def test_weights_that_two_parts_do_not_hold_are_multiplied_as_f32() -> None:
    b = ModelBuilder()
    q = quantised(b, b.input("x", np.float32, (ROWS, K)), Dense())
    w = b.op(
        "DequantizeLinear", b.weight(np.full((K, M), 255, np.uint8)), b.number(0.5), b.number(0, np.uint8)
    )
    b.output(b.op("MatMul", b.op("DequantizeLinear", *q), w))
    assert graph.census(check(b, {"x": Dense().x()}))["weight_only_linear"] == 1
