"""Weights of few bits under float activations give what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from reference.onnx_builder import ModelBuilder, run_peer

from engine import frontend, graph, passes

MICROSOFT = "com.microsoft"


def bytes_of(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def product(n: int, k: int, bits: int, block: int, zeros: str, bias: bool) -> ModelBuilder:
    b = ModelBuilder(17, {MICROSOFT: 1})
    blocks = -(-k // block)
    scales = np.random.default_rng(1).uniform(0.01, 0.1, n * blocks).astype(np.float32)
    zero_bytes = -(-blocks * bits // 8)
    inputs = [
        b.input("a", np.float32, ("rows", k)),
        b.weight(bytes_of(n, blocks, block * bits // 8)),
        b.weight(scales),
        b.weight(bytes_of(n * zero_bytes, seed=2)) if zeros == "packed" else "",
        "",
        b.weight(np.linspace(-1, 1, n, dtype=np.float32)) if bias else "",
    ]
    while not inputs[-1]:
        inputs.pop()
    b.output(b.op("MatMulNBits", *inputs, domain=MICROSOFT, K=k, N=n, bits=bits, block_size=block))
    return b


def check(b: ModelBuilder, a: np.ndarray) -> None:
    model = frontend.open_model(b.model())
    bound = frontend.bind(model, {"a": a.shape})
    assert graph.census(bound)["foreign"] == 0
    (want,) = run_peer(b.model(), {"a": a})
    for found in (bound, passes.run(bound, check=True)):
        (got,) = graph.evaluate(found, {"a": a})
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(want).max())))


@pytest.mark.parametrize("zeros", ["none", "packed"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("bits", "block"), [(4, 16), (4, 32), (4, 128), (8, 32)])
def test_blocks_along_k(bits: int, block: int, bias: bool, zeros: str) -> None:
    a = np.random.default_rng(5).standard_normal((3, 96)).astype(np.float32)
    check(product(40, 96, bits, block, zeros, bias), a)


@given(n=st.integers(1, 20), blocks=st.integers(1, 5), cut=st.integers(0, 15), seed=st.integers(0, 99))
def test_last_block_may_be_cut(n: int, blocks: int, cut: int, seed: int) -> None:
    k = 16 * blocks - cut
    a = np.random.default_rng(seed).standard_normal((2, k)).astype(np.float32)
    check(product(n, k, 4, 16, "packed", bias=False), a)


def test_zero_points_that_are_fractions_leave_float_weights() -> None:
    b = product(8, 32, 4, 16, "none", bias=False)
    zeros = np.linspace(0, 15, 16, dtype=np.float32)
    b.nodes[-1].input.append(b.weight(zeros))
    a = np.random.default_rng(5).standard_normal((3, 32)).astype(np.float32)
    check(b, a)
    bound = passes.run(frontend.bind(frontend.open_model(b.model()), {"a": a.shape}))
    assert graph.census(bound)["linear"] == 1


def test_weights_are_the_same_object_for_every_shape() -> None:
    model = frontend.open_model(product(8, 32, 4, 16, "none", bias=False).model())
    first, second = (
        next(node for node in bound.nodes() if node.op == "weight_only_linear").inputs
        for bound in (passes.run(frontend.bind(model, {"a": (rows, 32)})) for rows in (1, 5))
    )
    for one, other in zip(first[1:4], second[1:4], strict=True):
        assert one is not None
        assert one == other


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4])
def test_blocks_of_four_bits_in_the_standard_domain(kind: int) -> None:
    source = np.random.default_rng(3)
    low = -8 if kind == TensorProto.INT4 else 0
    k, m, block = 64, 24, 32
    weights = source.integers(low, low + 16, (k, m))
    scales = source.uniform(0.01, 0.1, (k // block, m)).astype(np.float32)
    made = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=0, block_size=block),
                helper.make_node("MatMul", ["a", "d"], ["y"]),
            ],
            "blocked",
            [helper.make_tensor_value_info("a", TensorProto.FLOAT, ["rows", k])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", m])],
            [
                helper.make_tensor("w", kind, (k, m), weights.reshape(-1).tolist()),
                onnx.numpy_helper.from_array(scales, "s"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    a = source.standard_normal((3, k)).astype(np.float32)
    bound = frontend.bind(frontend.open_model(made), {"a": a.shape})
    want = a @ (weights * np.repeat(scales, block, 0))
    for found in (bound, passes.run(bound, check=True)):
        assert graph.census(found)["foreign"] == 0
        np.testing.assert_allclose(graph.evaluate(found, {"a": a})[0], want, rtol=1e-4, atol=1e-4)
