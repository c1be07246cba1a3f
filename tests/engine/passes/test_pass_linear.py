"""Dense layers in every way of writing them become linear, and their epilogues grow onto them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from form_check import check, node_of, random
from reference.onnx_builder import ModelBuilder

from engine import frontend, graph, passes

Form = Callable[[ModelBuilder, str], str]
K, M = 6, 5


def matmul_bias_first(b: ModelBuilder, x: str) -> str:
    return b.op("Add", b.weight(random(M)), b.op("MatMul", x, b.weight(random(K, M))))


def matmul_bias_last(b: ModelBuilder, x: str) -> str:
    return b.op("Add", b.op("MatMul", x, b.weight(random(K, M))), b.weight(random(1, 1, M)))


def scalar_bias(b: ModelBuilder, x: str) -> str:
    return b.op("Add", b.op("MatMul", x, b.weight(random(K, M))), b.number(0.5))


def transposed_weight(b: ModelBuilder, x: str) -> str:
    return b.op("MatMul", x, b.op("Transpose", b.weight(random(M, K)), perm=[1, 0]))


def dequantised_weight(b: ModelBuilder, x: str) -> str:
    whole = (random(M, K) * 40).astype(np.int8)
    w = b.op("DequantizeLinear", b.weight(whole), b.weight(np.abs(random(K)) + 0.1), axis=1)
    return b.op("MatMul", x, b.op("Transpose", w, perm=[1, 0]))


def reshaped_gemm(b: ModelBuilder, x: str) -> str:
    rows = b.op("Reshape", x, b.ints(-1, K))
    y = b.op("Gemm", rows, b.weight(random(M, K)), b.weight(random(M)), transB=1)
    return b.op("Reshape", y, b.ints(2, 3, M))


def identity_weight(b: ModelBuilder, x: str) -> str:
    w = b.op("Identity", b.weight(random(K, M)))
    return b.op("Add", b.op("Identity", b.weight(random(M))), b.op("MatMul", x, w))


FORMS = [
    matmul_bias_first,
    matmul_bias_last,
    scalar_bias,
    transposed_weight,
    dequantised_weight,
    reshaped_gemm,
    identity_weight,
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_dense_layer_is_one_linear(form: Form) -> None:
    b = ModelBuilder()
    b.output(form(b, b.input("x", np.float32, (2, 3, K))))
    check(b, {"x": random(2, 3, K)}, {"linear": 1})


@pytest.mark.parametrize(("batch", "k", "m"), [(1, 1, 1), (3, 1, 7), (1, 5, 1), (0, 4, 3)])
def test_gemm_of_any_size(batch: int, k: int, m: int) -> None:
    b = ModelBuilder()
    x = b.input("x", np.float32, ("n", k))
    b.output(b.op("Gemm", x, b.weight(random(m, k)), b.weight(random(m)), transB=1))
    after = check(b, {"x": random(batch, k)}, {"linear": 1})
    assert node_of(after, "linear").attrs["weight_axes"] == "mk"


@pytest.mark.parametrize(
    ("attrs", "shape"),
    [
        ({"alpha": 0.5}, (M,)),
        ({"beta": 2.0}, (M,)),
        ({"transA": 1}, (M,)),
        ({"alpha": 2.0, "beta": 0.5, "transA": 1, "transB": 1}, (1, M)),
        ({}, (4, 1)),
        ({}, (4, M)),
        ({}, ()),
    ],
)
def test_gemm_with_factors_is_taken_apart(attrs: dict[str, float], shape: tuple[int, ...]) -> None:
    b = ModelBuilder()
    x = b.input("x", np.float32, (K, 4) if attrs.get("transA") else (4, K))
    w = random(M, K) if attrs.get("transB") else random(K, M)
    b.output(b.op("Gemm", x, b.weight(w), b.weight(random(*shape)), **attrs))
    after = check(b, {"x": random(K, 4) if attrs.get("transA") else random(4, K)})
    assert node_of(after, "linear") is not None
    assert graph.census(after)["Gemm"] == 0


def test_constant_on_the_left_reads_transposed() -> None:
    b = ModelBuilder()
    b.output(b.op("MatMul", b.weight(random(M, K)), b.input("x", np.float32, (2, K, 3))))
    check(b, {"x": random(2, K, 3)}, {"linear": 1, "Transpose": 2})


def test_weights_keep_their_array() -> None:
    b = ModelBuilder()
    x = b.input("x", np.float32, ("n", K))
    b.output(matmul_bias_first(b, x))
    model = frontend.open_model(b.model())
    arrays = [
        node_of(passes.run(frontend.bind(model, {"x": (rows, K)})), "linear").inputs[1] for rows in (1, 4)
    ]
    assert arrays[0] is not None
    assert arrays[1] is not None
    assert arrays[0].array is arrays[1].array is model.body.constants["w1"].array


def test_dequantised_weights_are_computed_once_for_all_shapes() -> None:
    b = ModelBuilder()
    b.output(dequantised_weight(b, b.input("x", np.float32, ("n", 1, K))))
    model = frontend.open_model(b.model())
    found = [
        node_of(passes.run(frontend.bind(model, {"x": (rows, 1, K)})), "linear").inputs[1] for rows in (1, 4)
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].array is found[1].array


@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Sigmoid"])
def test_epilogue_takes_bias_residual_and_activation(activation: str) -> None:
    b = ModelBuilder()
    x, r = b.input("x", np.float32, (2, 3, K)), b.input("r", np.float32, (2, 3, M))
    b.output(b.op(activation, b.op("Add", r, matmul_bias_first(b, x))))
    after = check(b, {"x": random(2, 3, K), "r": random(2, 3, M)}, {"linear": 1})
    linear = node_of(after, "linear")
    assert linear.attrs["activation"] == activation.lower()
    assert len(linear.inputs) == 4


def second_reader(b: ModelBuilder, product: str) -> list[str]:
    return [b.op("Add", product, b.weight(random(M))), b.op("Neg", product)]


def graph_output(b: ModelBuilder, product: str) -> list[str]:
    return [b.op("Add", product, b.weight(random(M))), product]


def widening_constant(b: ModelBuilder, product: str) -> list[str]:
    return [b.op("Add", product, b.weight(random(4, 1, 1, M)))]


def column_constant(b: ModelBuilder, product: str) -> list[str]:
    return [b.op("Add", product, b.weight(random(3, 1)))]


def broadcast_residual(b: ModelBuilder, product: str) -> list[str]:
    return [b.op("Add", product, b.input("r", np.float32, (1, 3, M)))]


@pytest.mark.parametrize(
    "twin",
    [second_reader, graph_output, widening_constant, column_constant, broadcast_residual],
    ids=lambda twin: twin.__name__,
)
def test_bias_is_not_taken(twin: Callable[[ModelBuilder, str], list[str]]) -> None:
    b = ModelBuilder()
    product = b.op("MatMul", b.input("x", np.float32, (2, 3, K)), b.weight(random(K, M)))
    b.output(*twin(b, product))
    feeds = {"x": random(2, 3, K)} | ({"r": random(1, 3, M)} if twin is broadcast_residual else {})
    after = check(b, feeds)
    assert graph.census(after)["Add"] == 1
    assert len(node_of(after, "linear").inputs) == 2


def test_activation_is_not_taken_from_a_product_that_is_read_twice() -> None:
    b = ModelBuilder()
    y = matmul_bias_first(b, b.input("x", np.float32, (2, 3, K)))
    b.output(b.op("Relu", y), b.op("Exp", y))
    check(b, {"x": random(2, 3, K)}, {"linear": 1, "Relu": 1, "Exp": 1})


def test_reshapes_that_move_features_stay() -> None:
    b = ModelBuilder()
    x = b.input("x", np.float32, (2, 3, K))
    y = b.op("MatMul", b.op("Reshape", x, b.ints(-1, K)), b.weight(random(K, 4)))
    b.output(b.op("Reshape", y, b.ints(2, 4, 3)))
    check(b, {"x": random(2, 3, K)}, {"linear": 1, "Reshape": 2})


def test_fused_qkv_is_sliced_behind_one_linear() -> None:
    b = ModelBuilder()
    x = b.input("x", np.float32, (2, 3, K))
    y = b.op("Add", b.op("MatMul", x, b.weight(random(K, 12))), b.weight(random(12)))
    b.output(*b.ops("Split", y, b.ints(4, 4, 4), count=3, axis=-1))
    check(b, {"x": random(2, 3, K)}, {"linear": 1, "Slice": 3})
