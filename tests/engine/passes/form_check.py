"""Binding a small model, running the passes, and comparing: with the graph before, and with onnxruntime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from reference.onnx_builder import ModelBuilder, run_peer

from engine import frontend, graph, passes

MASK_OPS = frozenset({"Add", "Cast", "Equal", "Expand", "Mul", "Reshape", "Sub", "Where"})


def compiled(builder: ModelBuilder, feeds: Mapping[str, np.ndarray]) -> tuple[graph.Graph, graph.Graph]:
    """The graph of the builder's model under these feeds, before and after the passes (verified after each)."""
    model = frontend.open_model(builder.model())
    before = frontend.bind(model, {name: array.shape for name, array in feeds.items()})
    graph.verify(before)
    return before, passes.run(before, check=True)


def check(
    builder: ModelBuilder,
    feeds: Mapping[str, np.ndarray],
    wanted: Mapping[str, int] | None = None,
    **bounds: Any,
) -> graph.Graph:
    """The graph after the passes; its operators are `wanted`, its values those of the graph before.

    bounds: rtol, atol (default: reassociation in f32), exact=True, peer=False to leave onnxruntime out
    """
    before, after = compiled(builder, feeds)
    if wanted is not None:
        assert graph.census(after) == Counter(wanted), graph.show(after)
    exact, peer = bounds.pop("exact", False), bounds.pop("peer", True)
    tolerance = {"rtol": 1e-4, "atol": 1e-5, **bounds}
    expected, found = graph.evaluate(before, feeds), graph.evaluate(after, feeds)
    peers = run_peer(builder.model(), feeds) if peer else expected
    for one, two, three in zip(expected, found, peers, strict=True):
        assert one.dtype == two.dtype
        if exact:
            np.testing.assert_array_equal(one, two)
        else:
            np.testing.assert_allclose(one, two, **tolerance)
        np.testing.assert_allclose(two, three, **tolerance)
    return after


def node_of(after: graph.Graph, op: str) -> graph.Node:
    """The only node of this operator."""
    found = [node for node in after.nodes() if node.op == op]
    assert len(found) == 1, graph.show(after)
    return found[0]


def random(*shape: int, seed: int = 3) -> np.ndarray:
    """Standard normal float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
