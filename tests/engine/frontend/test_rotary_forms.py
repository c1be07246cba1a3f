"""Rotary embeddings are computed in elementary steps, as onnx's reference and onnxruntime do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from reference.onnx_builder import ModelBuilder, run_peer

from engine import Engine, frontend, graph

BATCH, LENGTH, HEADS, DEPTH, POSITIONS = 2, 5, 3, 8, 16


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def angles(half: int, *leading: int) -> tuple[np.ndarray, np.ndarray]:
    turn = random(*leading, half, seed=4)
    return np.cos(turn), np.sin(turn)


def ours(b: ModelBuilder, feeds: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """By the graph's meaning, and by the engine, wholly in compiled steps."""
    model = b.model()
    bound = frontend.bind(frontend.open_model(model), {name: a.shape for name, a in feeds.items()})
    assert "foreign" not in graph.census(bound)
    engine = Engine(model, BATCH, input_shapes=[list(a.shape) for a in feeds.values()])
    assert engine.fraction_of_supported_ops == 1
    return graph.evaluate(bound, feeds)[0], engine.run(list(feeds.values()))[0]


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("size", [0, 4])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("with_ids", [False, True])
def test_opset_23(interleaved: int, size: int, flat: bool, with_ids: bool) -> None:
    b = ModelBuilder(opset=23)
    shape = (BATCH, LENGTH, HEADS * DEPTH) if flat else (BATCH, HEADS, LENGTH, DEPTH)
    feeds = {"x": random(*shape)}
    b.input("x", np.float32, shape)
    caches = angles((size or DEPTH) // 2, *((POSITIONS,) if with_ids else (BATCH, LENGTH)))
    inputs = ["x", *(b.weight(cache) for cache in caches)]
    if with_ids:
        feeds["ids"] = np.random.default_rng(1).integers(0, POSITIONS, (BATCH, LENGTH))
        inputs.append(b.input("ids", np.int64, (BATCH, LENGTH)))
    attrs: dict[str, Any] = {"interleaved": interleaved, "rotary_embedding_dim": size}
    if flat:
        attrs["num_heads"] = HEADS
    b.output(b.op("RotaryEmbedding", *inputs, **attrs))
    expected: Any = ReferenceEvaluator(b.model()).run(None, feeds)
    for found in ours(b, feeds):
        np.testing.assert_allclose(found, expected[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("flat", [False, True])
def test_of_onnxruntime(interleaved: int, flat: bool) -> None:
    b = ModelBuilder(opset=17, domains={"com.microsoft": 1})
    shape = (BATCH, LENGTH, HEADS * DEPTH) if flat else (BATCH, HEADS, LENGTH, DEPTH)
    feeds = {"x": random(*shape), "ids": np.random.default_rng(1).integers(0, POSITIONS, (BATCH, LENGTH))}
    b.input("x", np.float32, shape)
    b.input("ids", np.int64, (BATCH, LENGTH))
    caches = [b.weight(cache) for cache in angles(DEPTH // 2, POSITIONS)]
    b.output(b.op("RotaryEmbedding", "x", "ids", *caches, domain="com.microsoft", interleaved=interleaved))
    for found in ours(b, feeds):
        np.testing.assert_allclose(found, run_peer(b.model(), feeds)[0], rtol=1e-5, atol=1e-6)
