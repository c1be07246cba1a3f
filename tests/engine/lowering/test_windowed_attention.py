"""Attention in a window against NumPy in float64: every place of a window, masks, queries whose whole window is padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.graph import Graph, evaluate, graph_input, node
from engine.lowering import lower
from engine.lowering.machine import Machine
from engine.plan.build import build
from engine.plan.weights import WeightStore
from engine.runtime.runner import run_plan
from engine.runtime.teams import team_of

Array = NDArray[Any]
F32 = np.dtype(np.float32)
LOWEST = float(np.finfo(np.float32).min)
ATTRIBUTES: dict[str, Any] = {
    "probability": None,
    "scores": None,
    "score_multiplier": np.float32(1),
    "zero_masked_rows": False,
    "store": None,
}


def _graph(arrays: dict[str, Array], heads: int, window: tuple[int, int, float]) -> Graph:
    inputs = [graph_input(name, F32, array.shape) for name, array in arrays.items()]
    numbers: dict[str, Any] = {"multiplier": np.float32(0.4), "context_multiplier": np.float32(1.5)}
    y = node("attention", *inputs, heads=heads, window=window, **numbers, **ATTRIBUTES)[0]
    return Graph(tuple(inputs), (y,), ("y",))


def _run(graph: Graph, arrays: dict[str, Array]) -> Array:
    members = team_of(2).members
    program = lower(graph, Machine(members, 1 << 20), WeightStore())
    plan = build(program, members)
    kernels = [layer.kernel for layer in plan.layers if layer.op == "attention"]
    assert all(kernel.startswith("attention_windowed_f32") for kernel in kernels)
    return np.asarray(run_plan(plan, team_of(2), list(arrays.values()))[0])


def _arrays(batch: int, length: int, width: int, lengths: list[int] | None) -> dict[str, Array]:
    source = np.random.default_rng(length)
    arrays = {name: source.standard_normal((batch, length, width)).astype(np.float32) for name in "qkv"}
    if lengths is not None:
        kept = np.arange(length) < np.array(lengths)[:, None]
        arrays["mask"] = np.where(kept, 0, LOWEST).astype(np.float32).reshape(batch, 1, 1, length)
    return arrays


def _expected(arrays: dict[str, Array], heads: int, window: tuple[int, int, float]) -> Array:
    def split(name: str) -> Array:
        x = arrays[name].astype(np.float64)
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    places = np.arange(arrays["q"].shape[1])
    distance = places - places[:, None]
    inside = (distance >= -window[0]) & (distance <= window[1])
    mask = np.where(inside, arrays.get("mask", np.float32(0)), np.float32(window[2]))
    # Added in float32, where so low a number takes in the score.
    scores = (split("q") @ split("k").swapaxes(2, 3) * np.float32(0.4)).astype(np.float32) + mask
    e = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    context = e @ split("v") / e.sum(-1, keepdims=True) * 1.5
    return np.asarray(context.transpose(0, 2, 1, 3).reshape(arrays["q"].shape))


@given(data=st.data(), batch=st.integers(1, 3), length=st.integers(1, 150), masked=st.booleans())
def test_only_keys_of_the_window_count(data: st.DataObject, batch: int, length: int, masked: bool) -> None:
    heads, depth = data.draw(st.sampled_from([(1, 2), (2, 5), (3, 16), (2, 64)]))
    window = (data.draw(st.integers(0, length)), data.draw(st.integers(0, length)), LOWEST)
    lengths = [data.draw(st.integers(1, length)) for _ in range(batch)] if masked else None
    arrays = _arrays(batch, length, heads * depth, lengths)
    graph = _graph(arrays, heads, window)
    expected = _expected(arrays, heads, window)
    np.testing.assert_allclose(evaluate(graph, arrays)[0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(_run(graph, arrays), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", [[3, 100], [17, 1], [0, 64]])
def test_queries_whose_window_is_padding_look_at_all_keys(lengths: list[int]) -> None:
    arrays, window = _arrays(2, 100, 48, lengths), (4, 7, LOWEST)
    expected = _expected(arrays, 3, window)
    last = arrays["v"][0].astype(np.float64).mean(0) * 1.5
    np.testing.assert_allclose(expected[0, -1], last, rtol=1e-6)
    np.testing.assert_allclose(_run(_graph(arrays, 3, window), arrays), expected, rtol=1e-4, atol=1e-5)


def test_a_window_without_a_key_is_no_number_where_the_mask_is_infinite() -> None:
    arrays, window = _arrays(1, 40, 8, [4]), (2, 2, -np.inf)
    arrays["mask"] = np.where(arrays["mask"] < 0, np.float32(-np.inf), np.float32(0))
    got = _run(_graph(arrays, 2, window), arrays)
    assert np.isnan(got[0, 6:]).all()
    assert np.isfinite(got[0, :6]).all()
