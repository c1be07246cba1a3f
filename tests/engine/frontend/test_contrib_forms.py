"""Operators of ONNX Runtime's own domain, and attention of opset 23: equal to ONNX Runtime, as ours or as plain nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder, run_peer

from engine import frontend, graph, passes
from engine.errors import UnsupportedOpError

MICROSOFT = "com.microsoft"
BATCH, LENGTH, HEADS, WIDTH = 2, 6, 4, 32


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def builder(opset: int = 17) -> ModelBuilder:
    return ModelBuilder(opset, {MICROSOFT: 1})


def compare(b: ModelBuilder, feeds: dict[str, np.ndarray], atol: float = 1e-5) -> graph.Graph:
    """The graph after the passes; before and after them it gives what ONNX Runtime gives."""
    model = frontend.open_model(b.model())
    before = frontend.bind(model, {name: array.shape for name, array in feeds.items()})
    after = passes.run(before, check=True)
    assert graph.census(before)["foreign"] == 0
    for found in (before, after):
        for mine, theirs in zip(graph.evaluate(found, feeds), run_peer(b.model(), feeds), strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_allclose(
                np.asarray(mine, np.float64), np.asarray(theirs, np.float64), atol=atol, rtol=1e-4
            )
    return after


def masks(kind: str) -> np.ndarray | None:
    """Padding in the ways the operators know it, int32."""
    ends = np.array([LENGTH, 3], np.int32)
    kept = (np.arange(LENGTH)[None] < ends[:, None]).astype(np.int32)
    square = np.broadcast_to(kept[:, None, :], (BATCH, LENGTH, LENGTH)).copy()
    return {
        "none": None,
        "lengths": ends,
        "ends and starts": np.concatenate([ends, np.array([1, 0], np.int32)]),
        "rows": kept,
        "nothing": np.zeros_like(kept),
        "square": square,
    }[kind]


@pytest.mark.parametrize("mask", ["none", "lengths", "ends and starts", "rows", "nothing", "square"])
@pytest.mark.parametrize("attrs", [{}, {"scale": 0.3}, {"mask_filter_value": -50.0}], ids=str)
def test_attention_of_projected_rows(mask: str, attrs: dict[str, Any]) -> None:
    b = builder()
    x = b.input("x", np.float32, (BATCH, LENGTH, WIDTH))
    inputs = [x, b.weight(floats(WIDTH, 3 * WIDTH, seed=1)), b.weight(floats(3 * WIDTH, seed=2))]
    feeds = {"x": floats(BATCH, LENGTH, WIDTH, seed=3)}
    array = masks(mask)
    if array is not None:
        inputs.append(b.input("mask", np.int32, array.shape))
        feeds["mask"] = array
    b.output(b.op("Attention", *inputs, domain=MICROSOFT, num_heads=HEADS, **attrs))
    assert graph.census(compare(b, feeds))["attention"] == 1


@pytest.mark.parametrize("mask", ["none", "lengths", "rows"])
@pytest.mark.parametrize("extra", ["", "bias", "added", "keys by head"])
def test_attention_of_queries_keys_and_values(mask: str, extra: str) -> None:
    b = builder()
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys("qkv", (BATCH, LENGTH, WIDTH))
    if extra == "keys by head":
        shapes |= dict.fromkeys("kv", (BATCH, HEADS, LENGTH, WIDTH // HEADS))
    feeds = {name: floats(*shape, seed=ord(name)) for name, shape in shapes.items()}
    inputs = [b.input(name, np.float32, shape) for name, shape in shapes.items()]
    inputs.append(b.weight(floats(3 * WIDTH, seed=2)) if extra == "bias" else "")
    array = masks(mask)
    inputs.append("" if array is None else b.input("mask", np.int32, array.shape))
    if array is not None:
        feeds["mask"] = array
    if extra == "added":
        feeds["added"] = floats(1, HEADS, LENGTH, LENGTH, seed=9)
        inputs.append(b.input("added", np.float32, (1, HEADS, LENGTH, LENGTH)))
    b.output(b.op("MultiHeadAttention", *inputs, domain=MICROSOFT, num_heads=HEADS))
    assert graph.census(compare(b, feeds))["attention"] == 1


@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize(
    ("mask", "attrs"),
    [
        *((mask, attrs) for mask in ("none", "added", "kept", "nothing") for attrs in ({}, {"scale": 0.4})),
        ("none", {"is_causal": 1}),
    ],
    ids=str,
)
def test_attention_of_opset_23(rank: int, mask: str, attrs: dict[str, Any]) -> None:
    b = ModelBuilder(23)
    shape = (BATCH, LENGTH, WIDTH) if rank == 3 else (BATCH, HEADS, LENGTH, WIDTH // HEADS)
    feeds = {name: floats(*shape, seed=ord(name)) for name in "qkv"}
    inputs = [b.input(name, np.float32, shape) for name in "qkv"]
    kept = np.ones((BATCH, 1, 1, LENGTH), np.bool_)
    kept[-1, :, :, 0 if mask == "nothing" else LENGTH // 2 :] = False
    kept = np.broadcast_to(kept, (BATCH, 1, LENGTH, LENGTH)).copy()
    if mask != "none":
        feeds["mask"] = np.where(kept, floats(*kept.shape), np.float32(-1e4)) if mask == "added" else kept
        inputs.append(b.input("mask", feeds["mask"].dtype, kept.shape))
    heads = {"q_num_heads": HEADS, "kv_num_heads": HEADS} if rank == 3 else {}
    b.output(b.op("Attention", *inputs, **attrs, **heads))
    assert graph.census(compare(b, feeds))["attention"] == 1


def skipped(b: ModelBuilder, *, bias: bool, broadcast: bool) -> dict[str, np.ndarray]:
    shapes = {
        "x": (BATCH, LENGTH, WIDTH),
        "skip": (1, LENGTH, WIDTH) if broadcast else (BATCH, LENGTH, WIDTH),
    }
    inputs = [b.input(name, np.float32, shape) for name, shape in shapes.items()]
    inputs += [b.weight(floats(WIDTH, seed=seed)) for seed in (1, 2)]
    if bias:
        inputs.append(b.weight(floats(WIDTH, seed=3)))
    y, _, _, total = b.ops("SkipLayerNormalization", *inputs, count=4, domain=MICROSOFT, epsilon=1e-6)
    b.nodes[-1].output[1] = b.nodes[-1].output[2] = ""
    b.output(y, total)
    return {name: floats(*shape, seed=len(name)) for name, shape in shapes.items()}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("broadcast", [False, True])
def test_normalisation_of_a_sum_gives_the_sum_too(bias: bool, broadcast: bool) -> None:
    b = builder()
    feeds = skipped(b, bias=bias, broadcast=broadcast)
    assert graph.census(compare(b, feeds))["layer_norm"] == 1


@pytest.mark.parametrize("bias", [False, True])
def test_root_mean_square_of_a_sum(bias: bool) -> None:
    b = builder()
    feeds = {name: floats(BATCH, LENGTH, WIDTH, seed=len(name)) for name in ("x", "skip")}
    inputs = [b.input(name, np.float32, array.shape) for name, array in feeds.items()]
    inputs += [b.weight(floats(WIDTH, seed=1)), *([b.weight(floats(WIDTH, seed=2))] if bias else [])]
    b.output(b.op("SkipSimplifiedLayerNormalization", *inputs, domain=MICROSOFT, epsilon=1e-6))
    compare(b, feeds)


def test_layer_normalisation_below_its_opset_is_the_runtime_s() -> None:
    b = builder(14)
    x = b.input("x", np.float32, (BATCH, LENGTH, WIDTH))
    weights = [b.weight(floats(WIDTH, seed=seed)) for seed in (1, 2)]
    b.output(b.op("LayerNormalization", x, *weights, epsilon=1e-5))
    found = compare(b, {"x": floats(BATCH, LENGTH, WIDTH)})
    assert graph.census(found) == {"layer_norm": 1}


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("segments", [False, True])
def test_embedding_and_normalisation(positions: bool, segments: bool) -> None:
    b = builder()
    ids = np.random.default_rng(0).integers(0, 9, (BATCH, LENGTH)).astype(np.int32)
    feeds = {"ids": ids}
    names = [b.input("ids", np.int32, ids.shape), ""]
    if segments:
        feeds["kinds"] = (ids % 2).astype(np.int32)
        names[1] = b.input("kinds", np.int32, ids.shape)
    names += [b.weight(floats(9, WIDTH, seed=1)), b.weight(floats(LENGTH + 3, WIDTH, seed=2))]
    names.append(b.weight(floats(2, WIDTH, seed=3)) if segments else "")
    names += [b.weight(floats(WIDTH, seed=seed)) for seed in (4, 5)]
    feeds["mask"] = np.where(np.arange(LENGTH)[None] < [[LENGTH], [2]], 1, 0).astype(np.int32)
    names.append(b.input("mask", np.int32, ids.shape))
    if positions:
        feeds["places"] = ids % np.int32(LENGTH)
        names.append(b.input("places", np.int32, ids.shape))
    b.output(*b.ops("EmbedLayerNormalization", *names, count=2, domain=MICROSOFT, epsilon=1e-6))
    compare(b, feeds)


@pytest.mark.parametrize("attrs", [{"alpha": 0.25}, {"transB": 1}, {"transA": 1, "alpha": 2.0}], ids=str)
def test_product_with_a_factor(attrs: dict[str, Any]) -> None:
    b = builder()
    a = floats(3, 5, 4) if "transA" in attrs else floats(3, 4, 5)
    other = floats(3, 6, 5, seed=1) if "transB" in attrs else floats(3, 5, 6, seed=1)
    names = [b.input(name, np.float32, array.shape) for name, array in (("a", a), ("b", other))]
    b.output(b.op("FusedMatMul", *names, domain=MICROSOFT, **attrs))
    compare(b, {"a": a, "b": other})


@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Sigmoid"])
def test_gemm_with_an_activation(activation: str) -> None:
    b = builder()
    weights = [b.weight(floats(6, 5, seed=1)), b.weight(floats(6, seed=2))]
    x = b.input("x", np.float32, (4, 5))
    b.output(b.op("FusedGemm", x, *weights, domain=MICROSOFT, transB=1, activation=activation))
    assert graph.census(compare(b, {"x": floats(4, 5)})) == {"linear": 1}


def dynamic(b: ModelBuilder, w: np.ndarray, *, zero: bool, bias: bool) -> dict[str, np.ndarray]:
    scales = b.weight(np.linspace(0.01, 0.02, w.shape[1]).astype(np.float32))
    inputs = [b.input("x", np.float32, (3, 4, w.shape[0])), b.weight(w), scales]
    inputs.append(b.weight(np.zeros(w.shape[1], w.dtype)) if zero or bias else "")
    if bias:
        inputs.append(b.weight(floats(w.shape[1], seed=2)))
    b.output(b.op("DynamicQuantizeMatMul", *inputs, domain=MICROSOFT))
    return {"x": floats(3, 4, w.shape[0])}


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_product_of_dynamically_quantised_rows(zero: bool, bias: bool) -> None:
    b = builder()
    w = np.random.default_rng(1).integers(-127, 127, (8, 12)).astype(np.int8)
    found = graph.census(compare(b, dynamic(b, w, zero=zero, bias=bias), atol=1e-4))
    assert found == {"DynamicQuantizeLinear": 1, "dynamic_quantized_linear": 1}


def quantised_input(b: ModelBuilder, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    limits = np.iinfo(dtype)
    b.input(name, dtype, shape)
    rng = np.random.default_rng(len(name) + sum(shape))
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)


@given(
    signed=st.booleans(),
    zeros=st.tuples(*[st.integers(0, 255)] * 3),
    scales=st.tuples(*[st.sampled_from([0.25, 0.03, 0.5, 0.11])] * 3),
    op=st.sampled_from(["QLinearAdd", "QLinearMul"]),
)
def test_sums_and_products_of_bytes(
    signed: bool, zeros: tuple[int, int, int], scales: tuple[float, float, float], op: str
) -> None:
    """Within one step: the runtime's kernels multiply by a quotient of scales, which falls otherwise near a tie."""
    dtype, shift = (np.int8, 128) if signed else (np.uint8, 0)
    b = builder()
    feeds = {name: quantised_input(b, name, (3, 5), dtype) for name in ("a", "bb")}
    numbers = [(b.number(s), b.number(z - shift, dtype)) for s, z in zip(scales, zeros, strict=True)]
    b.output(b.op(op, "a", *numbers[0], "bb", *numbers[1], *numbers[2], domain=MICROSOFT))
    compare(b, feeds, atol=1.0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("op", ["QLinearSigmoid", "QLinearSoftmax"])
def test_functions_of_bytes(op: str, dtype: Any) -> None:
    b = builder()
    x = quantised_input(b, "x", (3, 5), dtype)
    low = int(np.iinfo(dtype).min)
    attrs = {"axis": -1, "opset": 13} if op == "QLinearSoftmax" else {}
    numbers = (b.number(0.05), b.number(low + 120, dtype), b.number(1 / 256), b.number(low, dtype))
    b.output(b.op(op, "x", *numbers, domain=MICROSOFT, **attrs))
    compare(b, {"x": x}, atol=1.0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("op", ["QLinearAveragePool", "QLinearGlobalAveragePool"])
def test_means_of_bytes(op: str, dtype: Any) -> None:
    b = builder()
    x = quantised_input(b, "x", (2, 3, 7, 6), dtype)
    low = int(np.iinfo(dtype).min)
    window: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}
    numbers = (b.number(0.05), b.number(low + 120, dtype), b.number(0.03), b.number(low + 100, dtype))
    attrs = window if op == "QLinearAveragePool" else {"channels_last": 0}
    b.output(b.op(op, "x", *numbers, domain=MICROSOFT, **attrs))
    compare(b, {"x": x}, atol=1.0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_join_of_bytes(dtype: Any) -> None:
    b = builder()
    feeds = {name: quantised_input(b, name, (2, 3), dtype) for name in ("a", "bb")}
    pairs = [(b.number(s), b.number(z, dtype)) for s, z in ((0.25, 4), (0.125, 2), (0.5, 9))]
    parts = [part for name, pair in zip(feeds, pairs[1:], strict=True) for part in (name, *pair)]
    b.output(b.op("QLinearConcat", *pairs[0], *parts, domain=MICROSOFT, axis=1))
    compare(b, feeds)


@pytest.mark.parametrize("real", [False, True])
def test_gemm_of_bytes(real: bool) -> None:
    b = builder()
    x = quantised_input(b, "x", (4, 8), np.uint8)
    w = np.random.default_rng(5).integers(-127, 127, (6, 8)).astype(np.int8)
    whole = b.weight(np.arange(-3, 3, dtype=np.int32) * 500)
    inputs = [
        "x",
        b.number(0.25),
        b.number(117, np.uint8),
        b.weight(w),
        b.number(0.5),
        b.number(0, np.int8),
        whole,
    ]
    if not real:
        inputs += [b.number(64), b.number(100, np.uint8)]
    b.output(b.op("QGemm", *inputs, domain=MICROSOFT, transB=1))
    found = compare(b, {"x": x}, atol=1e-3 if real else 1.0)
    assert graph.census(found)["quantized_linear"] == 1


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_product_of_two_byte_activations(dtype: Any) -> None:
    b = builder()
    feeds = {"a": quantised_input(b, "a", (2, 3, 4), dtype), "bb": quantised_input(b, "bb", (2, 4, 5), dtype)}
    numbers = [(b.number(s), b.number(z, dtype)) for s, z in ((0.25, 7), (0.125, 3), (16.0, 5))]
    b.output(b.op("QLinearMatMul", "a", *numbers[0], "bb", *numbers[1], *numbers[2]))
    compare(b, feeds, atol=1.0)


def test_what_the_form_does_not_cover_is_refused_by_name() -> None:
    b = builder()
    x = b.input("x", np.float32, (BATCH, LENGTH, WIDTH))
    past = b.input("past", np.float32, (2, BATCH, HEADS, 3, WIDTH // HEADS))
    weights = (b.weight(floats(WIDTH, 3 * WIDTH)), b.weight(floats(3 * WIDTH)))
    b.output(b.op("Attention", x, *weights, "", past, domain=MICROSOFT, num_heads=HEADS))
    model = frontend.open_model(b.model())
    with pytest.raises(UnsupportedOpError, match="Attention"):
        frontend.bind(model, {})
