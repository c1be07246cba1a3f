"""Root mean square normalisation in every way of writing it becomes a layer_norm that keeps the mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from form_check import check, node_of, random
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder
from test_pass_layer_norm import rooted

from engine import Engine, graph

WIDTH = 7
FEEDS = {"x": random(2, 3, WIDTH) * 3 + 1}
MICROSOFT = "com.microsoft"


def powers(b: ModelBuilder, x: str) -> str:
    return b.op("Pow", x, b.number(2))


def products(b: ModelBuilder, x: str) -> str:
    return b.op("Mul", x, x)


def decomposed(
    b: ModelBuilder,
    x: str,
    square: Callable[[ModelBuilder, str], str] = powers,
    root: str = "div",
    *,
    axis: int = -1,
    epsilon: float = 1e-6,
) -> str:
    mean = b.op("ReduceMean", square(b, x), axes=[axis])
    return rooted(b, x, b.op("Add", b.number(epsilon), mean), root)


@pytest.mark.parametrize("square", [powers, products])
@pytest.mark.parametrize("root", ["div", "reciprocal", "one over", "half power", "minus half"])
@pytest.mark.parametrize("gain", ["none", "left", "right"])
def test_decomposed_form_is_found(square: Callable[[ModelBuilder, str], str], root: str, gain: str) -> None:
    b = ModelBuilder()
    x = b.input("x", np.float32, (2, 3, WIDTH))
    # As transformers' models write it: in float32, whatever they compute in elsewhere.
    rows = decomposed(b, b.op("Cast", x, to=1), square, root)
    g = b.weight(random(WIDTH, seed=5))
    if gain != "none":
        rows = b.op("Mul", *((g, rows) if gain == "left" else (rows, g)))
    b.output(rows)
    found = node_of(check(b, FEEDS, {"layer_norm": 1}), "layer_norm")
    assert found.attrs["keeps_mean"]
    assert found.attrs["epsilon"] == pytest.approx(1e-6)


def test_operator_of_opset_23() -> None:
    b = ModelBuilder(23)
    x = b.input("x", np.float32, (2, 3, WIDTH))
    b.output(b.op("RMSNormalization", x, b.weight(random(WIDTH, seed=5)), epsilon=1e-4))
    assert node_of(check(b, FEEDS, {"layer_norm": 1}), "layer_norm").attrs["epsilon"] == pytest.approx(1e-4)


def test_operator_of_the_runtime() -> None:
    b = ModelBuilder(17, {MICROSOFT: 1})
    x = b.input("x", np.float32, (2, 3, WIDTH))
    gain = b.weight(random(WIDTH, seed=5))
    b.output(b.op("SimplifiedLayerNormalization", x, gain, axis=-1, epsilon=1e-4))
    check(b, FEEDS, {"layer_norm": 1}, peer=False)


@pytest.mark.parametrize("bias", [False, True])
def test_operator_that_adds_first(bias: bool) -> None:
    b = ModelBuilder(17, {MICROSOFT: 1})
    inputs = [b.input(name, np.float32, (2, 3, WIDTH)) for name in ("x", "skip")]
    inputs += [b.weight(random(WIDTH, seed=seed)) for seed in ((5, 6) if bias else (5,))]
    y, _, _, total = b.ops("SkipSimplifiedLayerNormalization", *inputs, count=4, domain=MICROSOFT)
    b.nodes[-1].output[1] = b.nodes[-1].output[2] = ""
    b.output(y, total)
    after = check(b, {**FEEDS, "skip": random(2, 3, WIDTH, seed=8)})
    assert graph.census(after)["layer_norm"] == 1
    assert node_of(after, "layer_norm").attrs["keeps_mean"]


def test_over_another_axis_stays() -> None:
    b = ModelBuilder()
    b.output(decomposed(b, b.input("x", np.float32, (2, WIDTH, WIDTH)), axis=1))
    assert graph.census(check(b, {"x": random(2, WIDTH, WIDTH)}))["layer_norm"] == 0


def test_whose_mean_is_an_output_stays() -> None:
    b = ModelBuilder()
    y = decomposed(b, b.input("x", np.float32, (2, 3, WIDTH)))
    b.output(y, next(one.output[0] for one in b.nodes if one.op_type == "ReduceMean"))
    assert graph.census(check(b, FEEDS))["layer_norm"] == 0


def test_of_another_value_stays() -> None:
    b = ModelBuilder()
    x, z = (b.input(name, np.float32, (2, 3, WIDTH)) for name in "xz")
    spread = b.op("Add", b.op("ReduceMean", powers(b, z), axes=[-1]), b.number(1e-6))
    b.output(rooted(b, x, spread, "div"))
    after = check(b, {**FEEDS, "z": random(2, 3, WIDTH, seed=9)})
    assert graph.census(after)["layer_norm"] == 0


@given(
    rows=st.integers(1, 70),
    width=st.integers(1, 70),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    seed=st.integers(0, 99),
)
def test_step_gives_what_the_formula_gives(rows: int, width: int, scale: float, seed: int) -> None:
    x = random(rows, width, seed=seed) * np.float32(scale) + np.float32(scale)
    gain = random(width, seed=seed + 1)
    b = ModelBuilder()
    b.output(b.op("Mul", decomposed(b, b.input("x", np.float32, x.shape)), b.weight(gain)))
    found = [
        Engine(b.model().SerializeToString(), batch_size=rows, num_cores=cores).run([x])[0]
        for cores in (1, 2)
    ]
    exact = x.astype(np.float64)
    want = exact / np.sqrt(np.mean(exact**2, axis=-1, keepdims=True) + 1e-6) * gain
    assert np.array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], want, rtol=2e-6, atol=1e-7)


def test_quantised_rows_leave_the_step_as_bytes() -> None:
    b = ModelBuilder()
    x = random(4, 32) * 3
    rows = b.op("Mul", decomposed(b, b.input("x", np.float32, x.shape)), b.weight(random(32, seed=5)))
    step, zero = b.weight(np.float32(0.03)), b.weight(np.uint8(120))
    rows = b.op("DequantizeLinear", b.op("QuantizeLinear", rows, step, zero), step, zero)
    integers = np.random.default_rng(1).integers(-127, 128, (32, 16)).astype(np.int8)
    w = b.op("DequantizeLinear", b.weight(integers), b.weight(np.float32(0.02)), b.weight(np.int8(0)))
    b.output(b.op("MatMul", rows, w))
    after = check(b, {"x": x}, {"layer_norm": 1, "quantized_linear": 1})
    assert node_of(after, "layer_norm").attrs["quantize"] is not None
    (got,) = Engine(b.model().SerializeToString(), batch_size=4).run([x])
    np.testing.assert_allclose(got, graph.evaluate(after, {"x": x})[0], rtol=1e-5, atol=1e-4)
