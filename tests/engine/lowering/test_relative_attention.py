"""Attention with embeddings of distances against NumPy in float64, for any rising table of buckets."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.graph import Graph, constant, evaluate, graph_input, node
from engine.lowering import lower
from engine.lowering.machine import Machine
from engine.plan.build import build
from engine.plan.weights import WeightStore
from engine.runtime.runner import run_plan
from engine.runtime.teams import team_of

Array = NDArray[Any]
ATTRIBUTES: dict[str, Any] = {
    "multiplier": np.float32(0.4),
    "context_multiplier": np.float32(1.5),
    "probability": None,
    "scores": None,
    "score_multiplier": np.float32(1),
    "zero_masked_rows": False,
    "store": None,
}


def _graph(arrays: dict[str, Array], positions: list[Array], buckets: tuple[int, ...]) -> Graph:
    inputs = [graph_input(name, np.dtype(np.float32), array.shape) for name, array in arrays.items()]
    mask = inputs[3] if len(inputs) > 3 else None
    sides = [constant(array) for array in positions]
    heads = len(positions[0])
    y = node("attention", *inputs[:3], mask, *sides, heads=heads, buckets=buckets, **ATTRIBUTES)[0]
    return Graph(tuple(inputs), (y,), ("y",))


def _run(graph: Graph, arrays: dict[str, Array]) -> Array:
    members = team_of(2).members
    plan = build(lower(graph, Machine(members, 1 << 20), WeightStore()), members)
    kernels = [layer.kernel for layer in plan.layers if layer.op == "attention"]
    assert all(kernel.startswith("attention_relative_f32") for kernel in kernels)
    return np.asarray(run_plan(plan, team_of(2), list(arrays.values()))[0])


def _expected(arrays: dict[str, Array], positions: list[Array], buckets: tuple[int, ...]) -> Array:
    heads = len(positions[0])

    def split(name: str) -> Array:
        x = arrays[name].astype(np.float64)
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    q, k, v = (split(name) for name in "qkv")
    scores = q @ k.swapaxes(2, 3) * np.float32(0.4)
    length = scores.shape[-1]
    for i in range(length):
        for j in range(length):
            r = buckets[i - j + length - 1]
            scores[:, :, i, j] += np.einsum("bhd,hd->bh", q[:, :, i], positions[0][:, :, r])
            scores[:, :, i, j] += np.einsum("bhd,hd->bh", k[:, :, j], positions[1][:, :, r])
    scores = scores + arrays.get("mask", 0)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    context = e @ v / e.sum(-1, keepdims=True) * 1.5
    return np.asarray(context.transpose(0, 2, 1, 3).reshape(arrays["q"].shape))


@given(
    data=st.data(),
    batch=st.integers(1, 2),
    length=st.integers(1, 70),
    sizes=st.sampled_from([(1, 2), (2, 5), (3, 16), (2, 64)]),
    mask=st.sampled_from(["none", "keys", "queries"]),
    flat=st.floats(0, 1),
)
def test_distances_add_their_products(
    data: st.DataObject, batch: int, length: int, sizes: tuple[int, int], mask: str, flat: float
) -> None:
    heads, depth = sizes
    source = np.random.default_rng(data.draw(st.integers(0, 99)))
    table = np.concatenate([[0], np.cumsum(source.random(2 * length - 2) >= flat)]).astype(int)
    buckets = tuple(int(r) for r in table)
    arrays = {n: source.standard_normal((batch, length, heads * depth)).astype(np.float32) for n in "qkv"}
    if mask != "none":
        shape = (batch, 1, length if mask == "queries" else 1, length)
        arrays["mask"] = np.where(source.random(shape) < 0.3, -10000, 0).astype(np.float32)
    positions = [
        (source.standard_normal((heads, depth, buckets[-1] + 1)) / depth).astype(np.float32) for _ in range(2)
    ]
    graph = _graph(arrays, positions, buckets)
    expected = _expected(arrays, positions, buckets)
    # Where all keys of a query are masked, scores of -10000 have lost their last bits.
    bounds: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-2 if mask == "queries" else 2e-5}
    np.testing.assert_allclose(evaluate(graph, arrays)[0], expected, **bounds)
    np.testing.assert_allclose(_run(graph, arrays), expected, **bounds)


def test_long_sequences_in_logarithmic_buckets() -> None:
    heads, depth, length = 2, 16, 300
    source = np.random.default_rng(1)
    distance = np.arange(1 - length, length)
    far = 64 + np.floor(np.log(np.maximum(abs(distance), 64) / 64) / np.log(512 / 64) * 63)
    rounded = np.where(abs(distance) <= 64, distance, np.sign(distance) * far).astype(int)
    buckets = tuple(int(r) for r in rounded - rounded.min())
    arrays = {n: source.standard_normal((1, length, heads * depth)).astype(np.float32) for n in "qkv"}
    shape = (heads, depth, buckets[-1] + 1)
    positions = [(source.standard_normal(shape) / depth).astype(np.float32) for _ in range(2)]
    graph = _graph(arrays, positions, buckets)
    np.testing.assert_allclose(_run(graph, arrays), evaluate(graph, arrays)[0], rtol=1e-3, atol=2e-5)
