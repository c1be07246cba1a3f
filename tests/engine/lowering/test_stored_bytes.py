"""Rows of bytes that a step stores itself are those that a step of their own would make of its quads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from test_lowered_operators import fed

from engine.graph import Graph, Value, constant, node
from engine.kernels.products.requantise_bytes import FINISHERS_TO_BYTES
from engine.lowering import lower, stored_bytes
from engine.lowering.machine import Machine
from engine.plan.build import build
from engine.plan.weights import WeightStore
from engine.runtime.runner import run_plan
from engine.runtime.teams import team_of

pytestmark = [
    pytest.mark.skipif(not FINISHERS_TO_BYTES, reason="this level has no finishers that store rows of bytes"),
    pytest.mark.xdist_group("cores"),
]
K = 32


def _product(
    x: Value, m: int, activation: str = "gelu", *, store: bool = True, has_bias: bool = True
) -> Value:
    """Nine of ten weights are 0."""
    source = np.random.default_rng([x.shape[-1], m])
    w = source.integers(-100, 100, (m, x.shape[-1])).astype(np.int8)
    w[source.random(w.shape) < 0.9] = 0
    bias = constant(source.normal(0, 0.2, m).astype(np.float32)) if has_bias else None
    attrs: dict[str, Any] = {
        "weight_axes": "mk",
        "weight_zero": 0,
        "zero_point": 128,
        "activation": activation,
        "product": None,
        "store": ("quantized", np.float32(0.02), 20) if store else None,
    }
    scale = constant(np.full(1, 4e-3, np.float32))
    return node("quantized_linear", x, constant(w), scale, None, bias, None, **attrs)[0]


def _chain(x: Value) -> list[Value]:
    """One that nobody else reads, of every kind of epilogue."""
    first = _product(_product(x, 48), 40, "none", has_bias=False)
    return [_product(_product(first, 36, "relu"), 12, store=False)]


def _shared(x: Value) -> list[Value]:
    """Rows that two sparse products read."""
    rows = _product(x, 48)
    return [_product(rows, 12, store=False), _product(rows, 20, "relu", store=False)]


def _result(x: Value) -> list[Value]:
    """Rows that leave the graph too."""
    rows = _product(x, 48)
    return [rows, _product(rows, 12, store=False)]


def _uneven(x: Value) -> list[Value]:
    """Rows that fill no quad at the end: by the longer way."""
    return [_product(_product(x, 42), 12, store=False)]


def _added(x: Value) -> list[Value]:
    """Rows that an elementwise step reads as well."""
    rows = _product(x, 48)
    quantisation = constant(np.array(0.02, np.float32)), constant(np.array(20, np.uint8))
    real = node("DequantizeLinear", rows, *quantisation, axis=1)[0]
    return [_product(rows, 12, store=False), node("Neg", real)[0]]


def _norm(x: Value, *, rounded: bool = False, epsilon: float = 1e-5) -> list[Value]:
    """Float32 rows normalised, as numbers and as bytes."""
    source = np.random.default_rng(x.shape[-1])
    gain, bias = (constant(source.standard_normal(x.shape[-1]).astype(np.float32)) for _ in range(2))
    attrs: dict[str, Any] = {"epsilon": epsilon, "quantize": (np.float32(0.03), 128), "rounded": rounded}
    both = node("layer_norm", x, gain, bias, **attrs)
    return [_product(both[1], 12, store=False), node("Neg", both[0])[0]]


def _rounded(x: Value) -> list[Value]:
    return _norm(x, rounded=True)


def _any_numbers(x: Value) -> list[Value]:
    """Lanes that may be infinite: by the longer way."""
    return _norm(x, epsilon=0.0)


def _attended(x: Value) -> list[Value]:
    """Contexts of four heads."""
    attrs: dict[str, Any] = {
        "heads": 4,
        "multiplier": np.float32(2e-4),
        "score_multiplier": np.float32(1),
        "context_multiplier": np.float32(2.0**-7),
        "probability": (np.float32(1 / 255), 0),
        "scores": None,
        "zero_masked_rows": False,
        "store": ("quantized", np.float32(0.02), 128),
    }
    zeros: dict[str, Any] = {"q_zero": 120, "k_zero": 128, "v_zero": 131}
    context = node("quantized_attention", x, x, x, None, **attrs, **zeros)[0]
    return [_product(context, 12, store=False)]


def _results(
    outputs: list[Value], fed_arrays: dict[Value, Any], family: str, members: int = 3
) -> tuple[list[np.ndarray], Sequence[Any]]:
    graph = Graph(tuple(fed_arrays), tuple(outputs), tuple(f"y{i}" for i in range(len(outputs))))
    team = team_of(2)
    program = lower(graph, Machine(members, 1 << 20, family=family), WeightStore())
    return run_plan(build(program, team.members), team, list(fed_arrays.values())), program.steps


@pytest.mark.parametrize(
    ("make", "saved"), [(_chain, 3), (_shared, 1), (_result, 0), (_uneven, 0), (_added, 0), (_attended, 1)]
)
@pytest.mark.parametrize(
    ("shape", "family"),
    [
        ((1, 3, K), "sparse4_int8"),
        ((1, 16, K), "sparse4_int8"),
        ((2, 16, K), "sparse4_int8"),
        ((1, 20, K), "sparse4_int8"),
        ((1, 40, K), "sparse_int8"),
        ((2, 64, K), "sparse_int8"),
        ((3, 50, K), "sparse_int8"),
        ((1, 150, K), "sparse_int8"),
    ],
)
def test_stored_rows_change_no_bit(
    monkeypatch: pytest.MonkeyPatch, make: Any, saved: int, shape: tuple[int, ...], family: str
) -> None:
    x, array = fed("x", np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8))
    outputs = make(x)
    stored, steps = _results(outputs, {x: array}, family)
    monkeypatch.setattr(stored_bytes, "_RULES", {})
    converted, more = _results(outputs, {x: array}, family)
    for one, two in zip(stored, converted, strict=True):
        np.testing.assert_array_equal(one, two)
    assert len(more) - len(steps) == saved


def test_a_kernel_that_hands_on_part_of_a_panel_stores_quads(monkeypatch: pytest.MonkeyPatch) -> None:
    x, array = fed("x", np.random.default_rng(3).integers(0, 256, (1, 40, K)).astype(np.uint8))
    monkeypatch.setattr(stored_bytes, "_WHOLE_PANELS", frozenset())
    _, steps = _results(_chain(x), {x: array}, "sparse_int8")
    epilogues = [step.args.fields["epilogue"] for step in steps if step.layer.op == "quantized_linear"]
    assert len(epilogues) == 4
    assert not any(epilogue.fields["finisher"] in FINISHERS_TO_BYTES.values() for epilogue in epilogues)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(("make", "saved"), [(_norm, 1), (_rounded, 1), (_any_numbers, 0)])
@pytest.mark.parametrize("k", [K, 100, 42])
@pytest.mark.parametrize(
    ("shape", "family"), [((1, 3), "sparse4_int8"), ((1, 20), "sparse4_int8"), ((2, 64), "sparse_int8")]
)
def test_a_norm_whose_tiles_are_panels_stores_rows(
    monkeypatch: pytest.MonkeyPatch,
    make: Any,
    saved: int,
    shape: tuple[int, ...],
    family: str,
    k: int,
    members: int,
) -> None:
    x, array = fed("x", np.random.default_rng(3).standard_normal((*shape, k)).astype(np.float32))
    outputs = make(x)
    stored, steps = _results(outputs, {x: array}, family, members)
    monkeypatch.setattr(stored_bytes, "_RULES", {})
    converted, more = _results(outputs, {x: array}, family, members)
    for one, two in zip(stored, converted, strict=True):
        np.testing.assert_array_equal(one, two)
    # One panel of 32 lanes is a tile for each of two cores.
    are_panels = members == 1 or shape != (1, 20)
    assert len(more) - len(steps) == (saved if k % 4 == 0 and are_panels else 0)
