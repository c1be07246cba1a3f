"""bfloat16 that a product, a layer norm or an attention stores itself is that a step of their own would make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_lowered_operators import fed, floats

from engine import Engine
from engine.graph import Graph, Value, constant, node
from engine.kernels.simd.pairs import HAS_PAIRS
from engine.lowering import builder, choose, lower
from engine.lowering.machine import Machine
from engine.plan.build import build
from engine.plan.weights import WeightStore
from engine.runtime.runner import run_plan
from engine.runtime.teams import team_of

pytestmark = [
    pytest.mark.skipif(not HAS_PAIRS, reason="this machine has no instructions for bfloat16"),
    pytest.mark.xdist_group("cores"),
]
EXPORTED = Path(__file__).parents[2] / "data" / "exported"


def _linear(x: Value, m: int, residual: Value | None = None, **attrs: Any) -> Value:
    weights, bias = constant(floats(x.shape[-1], m)), constant(floats(m))
    plain = {"weight_axes": "km", "activation": "none", "store": None}
    return node("linear", x, weights, bias, residual, **{**plain, **attrs})[0]


def _norm(x: Value, **more: Any) -> Value:
    k = x.shape[-1]
    gain, bias = constant(floats(k)), constant(floats(k))
    return node("layer_norm", x, gain, bias, epsilon=1e-5, quantize=None, rounded=False, **more)[0]


def _block(x: Value, inner: int) -> list[Value]:
    """As in an encoder: rows that are read by a product and as a residual, inner features by a product alone."""
    rows = _norm(x)
    return [_norm(_linear(_linear(rows, inner, activation="gelu"), x.shape[-1], rows))]


def _plain(x: Value, inner: int) -> list[Value]:
    """Rows that two products read, and results that leave the graph too."""
    rows = _norm(x)
    first = _linear(rows, inner)
    return [first, _linear(rows, 10), _linear(first, 5)]


def _root_mean_square(x: Value, inner: int) -> list[Value]:
    """Rows whose mean stays, and a gate that both products know."""
    rows = _norm(x, keeps_mean=True)
    gated = _linear(rows, inner, activation=("swish", np.float32(1.702)))
    return [_norm(_linear(gated, x.shape[-1], rows), keeps_mean=True)]


def _attended(x: Value, inner: int) -> list[Value]:
    """q, k and v by products, the context read by one."""
    q, k, v = (_linear(x, inner) for _ in range(3))
    plain: dict[str, Any] = {"probability": None, "scores": None, "score_multiplier": np.float32(1)}
    factors: dict[str, Any] = {"multiplier": np.float32(0.3), "context_multiplier": np.float32(1)}
    options: dict[str, Any] = {"heads": 2, "zero_masked_rows": False, "store": None}
    context = node("attention", q, k, v, **plain, **factors, **options)[0]
    return [_linear(context, 10, activation="gelu")]


def _results(
    outputs: list[Value], fed_arrays: dict[Value, np.ndarray], family: str = "dense_bf16"
) -> tuple[list[np.ndarray], list[Any]]:
    graph = Graph(tuple(fed_arrays), tuple(outputs), tuple(f"y{i}" for i in range(len(outputs))))
    team = team_of(2)
    machine = Machine(team.members, 1 << 20, "bf16", family)
    program = lower(graph, machine, WeightStore())
    return run_plan(build(program, team.members), team, list(fed_arrays.values())), list(program.steps)


@pytest.mark.parametrize("make", [_block, _plain, _root_mean_square])
@pytest.mark.parametrize("shape", [(1, 3, 32), (2, 20, 64), (1, 40, 96), (3, 50, 128), (2, 20, 48)])
@pytest.mark.parametrize("inner", [32, 160, 40, 41])
@pytest.mark.parametrize(("family", "multiple"), [("dense_bf16", 2), ("amx_bf16", 32)])
def test_stored_forms_change_no_bit(
    monkeypatch: pytest.MonkeyPatch,
    make: Any,
    shape: tuple[int, ...],
    inner: int,
    family: str,
    multiple: int,
) -> None:
    monkeypatch.setattr(choose, "PRODUCT_ROWS", choose.ALL_ROWS)
    x, array = fed("x", floats(*shape))
    outputs = make(x, inner)
    stored, steps = _results(outputs, {x: array}, family)
    monkeypatch.setattr(builder, "stored_form", lambda *_: None)
    split, more = _results(outputs, {x: array}, family)
    for one, two in zip(stored, split, strict=True):
        assert np.array_equal(one, two)
    assert len(more) - len(steps) == sum(size % multiple == 0 for size in (shape[-1], inner))


@pytest.mark.parametrize("shape", [(1, 3, 32), (2, 20, 64), (3, 50, 128), (1, 16, 40)])
@pytest.mark.parametrize(("inner", "stored"), [(32, 4), (160, 4), (40, 2), (6, 0)])
def test_stored_operands_and_contexts_of_attention_change_no_bit(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], inner: int, stored: int
) -> None:
    x, array = fed("x", floats(*shape))
    outputs = _attended(x, inner)
    (one,), steps = _results(outputs, {x: array})
    monkeypatch.setattr(builder, "stored_form", lambda *_: None)
    (two,), more = _results(outputs, {x: array})
    assert np.array_equal(one, two)
    assert len(more) - len(steps) == stored


def test_rows_that_only_products_read_are_no_panel() -> None:
    x, array = fed("x", floats(2, 20, 64))
    _, steps = _results(_block(x, 96), {x: array})
    epilogues = [step.args.fields["epilogue"] for step in steps if step.layer.op == "linear"]
    assert [epilogue.fields["y"] == 0 for epilogue in epilogues] == [True, False]


def test_padding_is_left_out_as_well() -> None:
    file, shapes = str(EXPORTED / "bert_eager_ts17.onnx"), [[3, 24]]
    skips, computes = (
        Engine(file, 3, input_shapes=shapes, precision="bf16", kernel="dense_bf16", skip_padding=skip)
        for skip in (True, False)
    )
    assert skips.compiled is not None
    assert skips.compiled.plan.ragged is not None
    mask = (np.arange(24) < np.array([24, 7, 17])[:, None]).astype(np.int64)
    ids = np.random.default_rng(2).integers(0, 40, (3, 24))
    kinds = {"attention_mask": mask, "token_type_ids": np.zeros((3, 24), np.int64)}
    assert any(layer.kernel.startswith("attention_bf16") for layer in skips.compiled.plan.layers)
    inputs = [kinds.get(name, ids) for name in skips.input_names]
    for got, whole in zip(skips.run(inputs), computes.run(inputs), strict=True):
        assert np.array_equal(got, whole)
