"""Weights of few bits under float activations: every way of writing them becomes one operator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from form_check import check, compiled, node_of, random
from reference.onnx_builder import ModelBuilder, run_peer

from engine import Engine, frontend, graph, passes

Form = Callable[[ModelBuilder, str], str]
K, M = 128, 70


def numbers(*shape: int) -> np.ndarray:
    made: np.ndarray = np.random.default_rng(2).integers(-8, 8, shape, np.int8)
    return made


def scales(*shape: int) -> np.ndarray:
    made: np.ndarray = np.abs(random(*shape)) + np.float32(0.1)
    return made


def one_scale(b: ModelBuilder, x: str) -> str:
    return b.op("MatMul", x, b.op("DequantizeLinear", b.weight(numbers(K, M)), b.number(0.5)))


def scale_a_row(b: ModelBuilder, x: str) -> str:
    w = b.op("DequantizeLinear", b.weight(numbers(K, M)), b.weight(scales(M)), b.weight(numbers(M)), axis=1)
    return b.op("MatMul", x, w)


def transposed(b: ModelBuilder, x: str) -> str:
    w = b.op("DequantizeLinear", b.weight(numbers(M, K)), b.weight(scales(M)), axis=0)
    return b.op("MatMul", x, b.op("Transpose", w, perm=[1, 0]))


def gemm(b: ModelBuilder, x: str) -> str:
    w = b.op("DequantizeLinear", b.weight(numbers(M, K)), b.weight(scales(M)), axis=0)
    return b.op("Gemm", x, w, b.weight(random(M)), transB=1)


def in_blocks(b: ModelBuilder, x: str) -> str:
    inputs = (b.weight(numbers(K, M)), b.weight(scales(K // 32, M)), b.weight(numbers(K // 32, M)))
    return b.op("MatMul", x, b.op("DequantizeLinear", *inputs, axis=0, block_size=32))


def cast_and_scaled(b: ModelBuilder, x: str) -> str:
    w = b.op("Cast", b.weight(numbers(K, M)), to=1)
    return b.op("MatMul", x, b.op("Mul", w, b.weight(scales(M))))


def cast_moved_and_scaled(b: ModelBuilder, x: str) -> str:
    w = b.op("Cast", b.weight(numbers(M, K)), to=1)
    w = b.op("Mul", b.weight(scales(M, 1)), b.op("Sub", w, b.number(3.0)))
    return b.op("MatMul", x, b.op("Transpose", w, perm=[1, 0]))


FORMS = [one_scale, scale_a_row, transposed, gemm, in_blocks, cast_and_scaled, cast_moved_and_scaled]


def model_of(form: Form, rows: int | str = "n") -> ModelBuilder:
    b = ModelBuilder(21)
    b.output(form(b, b.input("x", np.float32, (rows, K))))
    return b


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_becomes_one_operator(form: Form) -> None:
    check(model_of(form), {"x": random(3, K)}, {"weight_only_linear": 1}, atol=1e-3)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("rows", [1, 5, 20, 70])
def test_engine_gives_what_onnxruntime_gives(form: Form, rows: int) -> None:
    b, x = model_of(form), random(rows, K, seed=rows)
    (want,) = run_peer(b.model(), {"x": x})
    (got,) = Engine(b.model().SerializeToString(), batch_size=rows).run([x])
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)


def test_scales_along_k_without_blocks_stay_float() -> None:
    b = ModelBuilder(21)
    x = b.input("x", np.float32, (3, K))
    w = b.op("DequantizeLinear", b.weight(numbers(K, M)), b.weight(scales(K)), axis=0)
    b.output(b.op("MatMul", x, w))
    check(b, {"x": random(3, K)}, {"linear": 1}, atol=1e-3)


def test_fractions_as_zero_points_stay_float() -> None:
    b = ModelBuilder(21)
    x = b.input("x", np.float32, (3, K))
    w = b.op("Sub", b.op("Cast", b.weight(numbers(K, M)), to=1), b.number(0.5))
    b.output(b.op("MatMul", x, b.op("Mul", w, b.number(0.25))))
    check(b, {"x": random(3, K)}, {"linear": 1}, atol=1e-3)


def test_epilogue_grows_onto_the_product() -> None:
    b = ModelBuilder(21)
    x, r = b.input("x", np.float32, (3, K)), b.input("r", np.float32, (3, M))
    y = b.op("Add", b.op("Add", in_blocks(b, x), b.weight(random(M))), r)
    b.output(b.op("Relu", y))
    feeds = {"x": random(3, K), "r": random(3, M)}
    after = check(b, feeds, {"weight_only_linear": 1}, atol=1e-3)
    assert node_of(after, "weight_only_linear").attrs["activation"] == "relu"


def test_constants_are_the_same_for_every_shape() -> None:
    model = frontend.open_model(model_of(in_blocks).model())
    first, second = (
        node_of(passes.run(frontend.bind(model, {"x": (rows, K)})), "weight_only_linear").inputs
        for rows in (1, 4)
    )
    assert all(one is not None and one == other for one, other in zip(first[1:4], second[1:4], strict=True))


def test_a_matrix_that_is_also_read_elsewhere_is_still_computed_once() -> None:
    b = ModelBuilder(21)
    x = b.input("x", np.float32, (3, K))
    w = b.op("Mul", b.op("Cast", b.weight(numbers(K, M)), to=1), b.number(0.25))
    b.output(b.op("MatMul", x, w), b.op("Add", b.op("ReduceSum", x), w))
    _, after = compiled(b, {"x": random(3, K)})
    assert graph.census(after)["Cast"] == 0
