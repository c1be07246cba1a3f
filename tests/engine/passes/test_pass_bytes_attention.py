"""Attention reads bytes where its projections may store them, and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine import passes
from engine.graph import Graph, Value, census, constant, evaluate, graph_input, node

SOURCE = np.random.default_rng(3)
PROBABILITY = (np.float32(1 / 255), 0)
PLAIN: dict[str, Any] = {
    "multiplier": np.float32(1e-3),
    "context_multiplier": np.float32(0.01),
    "scores": None,
    "score_multiplier": np.float32(1),
    "zero_masked_rows": False,
    "store": None,
}


def projection(x: Value, width: int, zero_point: int) -> Value:
    weights = SOURCE.standard_normal((x.shape[-1], width)).astype(np.float32)
    store = ("centred", np.float32(0.05), zero_point)
    return node("linear", x, constant(weights), weight_axes="km", activation="none", store=store)[0]


def written(width: int = 16, probability: Any = PROBABILITY, *, shared: bool = False) -> Graph:
    x = graph_input("x", np.dtype(np.float32), (2, 5, 12))
    q, k, v = (projection(x, width, zero) for zero in (128, 7, 250))
    keys = q if shared else k
    y = node("attention", q, keys, v, heads=2, probability=probability, **PLAIN)[0]
    return Graph((x,), (y,), ("y",))


def run(graph: Graph) -> tuple[Graph, float]:
    after = passes.run(graph, check=True)
    feeds = {"x": SOURCE.standard_normal((2, 5, 12)).astype(np.float32)}
    before, now = evaluate(graph, feeds)[0], evaluate(after, feeds)[0]
    return after, float(np.abs(before - now).max())


def test_projections_store_bytes_and_attention_reads_them() -> None:
    after, difference = run(written())
    assert census(after) == {"linear": 3, "quantized_attention": 1}
    attention = after.outputs[0].node
    assert [attention.attrs[name] for name in ("q_zero", "k_zero", "v_zero")] == [128, 7, 250]
    assert all(value is not None and value.dtype == np.uint8 for value in attention.inputs)
    assert difference == 0


@pytest.mark.parametrize(
    "options",
    [{"width": 12}, {"probability": None}, {"probability": (np.float32(1 / 255), 3)}, {"shared": True}],
    ids=[
        "head of six features",
        "plain probabilities",
        "probabilities with a zero point",
        "one value read twice",
    ],
)
def test_it_stays_as_it_is(options: dict[str, Any]) -> None:
    after, difference = run(written(**options))
    assert census(after)["attention"] == 1
    assert difference == 0


def test_a_projection_that_is_an_output_stays_as_it_is() -> None:
    graph = written()
    keys = graph.outputs[0].node.inputs[1]
    assert keys is not None
    after = passes.run(Graph(graph.inputs, (*graph.outputs, keys), ("y", "k")), check=True)
    assert census(after)["attention"] == 1
