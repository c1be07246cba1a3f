"""Tile rows inside whole plans: operands in planes or quads, claims of whole runs, the user's precision.

Where the level has no tiles the emulated rows are offered here, and only here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import OptionError
from engine.graph import Graph, constant, evaluate, graph_input, node
from engine.kernels.layout import Lanes
from engine.kernels.row import ProductShape
from engine.lowering import choose, lower
from engine.lowering.machine import Machine
from engine.plan.build import Plan, build
from engine.plan.weights import WeightStore
from engine.runtime.runner import run_plan
from engine.runtime.teams import team_of

Array = NDArray[Any]
F32 = np.dtype(np.float32)
SOURCE = np.random.default_rng(8)


def _plan(graph: Graph, family: str, monkeypatch: pytest.MonkeyPatch, precision: str = "f32") -> Plan:
    monkeypatch.setattr(choose, "PRODUCT_ROWS", choose.ALL_ROWS)
    monkeypatch.setenv("ENGINE_KERNEL", family)
    team = team_of(2)
    return build(lower(graph, Machine(team.members, 1 << 20, precision), WeightStore()), team.members)


def _two_linears(batch: int, length: int) -> tuple[Graph, Array]:
    """Two products of the same value, one of them read again."""
    x = graph_input("x", F32, (batch, length, 70))
    weights = [constant(SOURCE.standard_normal((70, m)).astype(np.float32)) for m in (40, 45)]
    first, second = (
        node("linear", x, w, weight_axes="km", activation="relu", store=None)[0] for w in weights
    )
    array = SOURCE.standard_normal((batch, length, 70)).astype(np.float32)
    return Graph((x,), (first, second), ("y0", "y1")), array


@pytest.mark.parametrize("family", ["amx_f32", "amx_f32_compressed"])
@pytest.mark.parametrize(("batch", "length"), [(1, 5), (2, 20), (9, 70)])
def test_float_products_on_planes(
    family: str, batch: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, array = _two_linears(batch, length)
    plan = _plan(graph, family, monkeypatch)
    kernels = [layer.kernel for layer in plan.layers]
    assert sum(name.startswith(f"{family}__") for name in kernels) == 2
    assert sum(name.startswith("to_bf16_planes3") for name in kernels) == 1, "planes are made once a value"
    for mine, theirs in zip(run_plan(plan, team_of(2), [array]), evaluate(graph, {"x": array}), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["amx_bf16", "dense_bf16"])
def test_bfloat16_is_computed_only_where_it_was_asked_for(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, array = _two_linears(1, 40)
    asked = _plan(graph, family, monkeypatch, "bf16")
    default = _plan(graph, family, monkeypatch)
    assert [layer.kernel.split("__")[0] for layer in asked.layers].count(family) == 2
    assert not any(layer.kernel.startswith(family) for layer in default.layers)
    expected = evaluate(graph, {"x": array})
    got = run_plan(asked, team_of(2), [array])
    assert all(np.abs(a - b).max() < 0.01 * np.abs(b).max() for a, b in zip(got, expected, strict=True))
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("family", ["amx_int8", "amx_int8_compressed"])
@pytest.mark.parametrize(("batch", "length"), [(1, 5), (2, 20), (9, 70)])
def test_integer_products_on_quads_of_any_width(
    family: str, batch: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = graph_input("x", F32, (batch, length, 70))
    quantized = node("quantize", x, scale=np.float32(0.02), zero_point=120)[0]
    w = SOURCE.integers(-128, 128, (70, 50)).astype(np.int8)
    w[SOURCE.random(w.shape) < 0.7] = 0
    y = node(
        "quantized_linear",
        quantized,
        constant(w),
        constant(np.full(1, 2e-4, np.float32)),
        None,
        None,
        None,
        weight_axes="km",
        weight_zero=0,
        zero_point=120,
        activation="none",
        store=None,
        product=None,
    )[0]
    graph = Graph((x,), (y,), ("y",))
    array = SOURCE.standard_normal((batch, length, 70)).astype(np.float32)
    plan = _plan(graph, family, monkeypatch)
    assert any(layer.kernel.startswith(f"{family}__") for layer in plan.layers)
    got, expected = run_plan(plan, team_of(2), [array])[0], evaluate(graph, {"x": array})[0]
    np.testing.assert_allclose(got, expected, atol=1e-6, rtol=1e-6)


def test_emulated_rows_are_never_offered() -> None:
    assert not any(row.emulated for row in choose.PRODUCT_ROWS)
    emulated = [row.family for row in choose.ALL_ROWS if row.emulated]
    for family in emulated:
        with pytest.raises(OptionError):
            choose.check_family(family, "a test")


def test_costs_rank_tiles_as_they_were_measured() -> None:
    cost = {row.family: row.cost for row in choose.ALL_ROWS}

    def gain(lanes: int, density: float) -> float:
        shape = ProductShape(3072, 768, round(3072 * 768 * density), Lanes(1, lanes))
        return cost["amx_int8"](shape) / cost["amx_int8_compressed"](shape)

    # All matrices of a BERT-base in turn, 90 % zeros: 2.05, 1.34 and 1.20 times as fast as dense tiles.
    assert 1.6 < gain(16, 0.1) < 2.6
    assert 1.2 < gain(128, 0.1) < 1.6
    assert 1.05 < gain(512, 0.1) < 1.3
    assert gain(128, 1.0) < 1
