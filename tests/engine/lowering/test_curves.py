"""GELU in front of bytes: every family of products takes the same curve, and so gives the same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_lowered_operators import fed

from engine.graph import Graph, Value, constant, evaluate, node
from engine.kernels.layout import WIDTHS, Lanes
from engine.kernels.products.activation import ACTIVATIONS
from engine.kernels.products.curve import HAS_CURVES
from engine.lowering import choose, lower
from engine.lowering.machine import Machine
from engine.plan.build import build
from engine.plan.weights import WeightStore
from engine.runtime.runner import run_plan
from engine.runtime.teams import team_of

pytestmark = [
    pytest.mark.skipif(not HAS_CURVES, reason="this level has no lookup of 32 numbers"),
    pytest.mark.xdist_group("cores"),
]
K, M = 64, 44


def _layer(x: Value, activation: str, *, has_bias: bool) -> Value:
    source = np.random.default_rng(4)
    w = source.integers(-100, 100, (M, K)).astype(np.int8)
    w[source.random(w.shape) < 0.8] = 0
    bias = constant(source.normal(0, 0.5, M).astype(np.float32)) if has_bias else None
    attrs: dict[str, Any] = {
        "weight_axes": "mk",
        "weight_zero": 0,
        "zero_point": 131,
        "activation": activation,
        "product": None,
        "store": ("quantized", np.float32(0.013), 14),
    }
    scale = constant(source.uniform(1e-4, 3e-4, M).astype(np.float32))
    return node("quantized_linear", x, constant(w), scale, None, bias, None, **attrs)[0]


def _bytes(graph: Graph, array: np.ndarray, family: str) -> np.ndarray:
    team = team_of(2)
    program = lower(graph, Machine(team.members, 1 << 20, family=family), WeightStore())
    (step,) = [step for step in program.steps if step.layer.op == "quantized_linear"]
    assert step.layer.kernel.startswith(f"{family}__")
    assert step.args.fields["epilogue"].fields["activation"] == ACTIVATIONS["curve"]  # type: ignore[union-attr]
    return run_plan(build(program, team.members), team, [array])[0]


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("lanes", [1, 5, 16, 40, 130])
def test_all_families_give_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, activation: str, has_bias: bool, lanes: int
) -> None:
    monkeypatch.setattr(choose, "PRODUCT_ROWS", choose.ALL_ROWS)
    x, array = fed("x", np.random.default_rng(lanes).integers(0, 256, (1, lanes, K)).astype(np.uint8))
    graph = Graph((x,), (_layer(x, activation, has_bias=has_bias),), ("y",))
    place = Lanes.of((1, lanes, K), WIDTHS[-1])
    fitting = [row.family for row in choose.ALL_ROWS if row.operand == "u8" and row.takes(place)]
    assert len(fitting) > 3
    results = {family: _bytes(graph, array, family) for family in fitting}
    (expected,) = evaluate(graph, {"x": array})
    for family, got in results.items():
        np.testing.assert_array_equal(got, results[fitting[0]], family)
    apart = np.abs(results[fitting[0]].astype(int) - expected)
    assert apart.max() <= 1
    assert np.count_nonzero(apart) <= 1e-3 * apart.size
