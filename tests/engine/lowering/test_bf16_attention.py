"""Attention of bfloat16 against NumPy with the same roundings, in registers and on tiles; emulated where there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.graph import Graph, graph_input, node
from engine.kernels.attention import bf16, bf16_tiled
from engine.kernels.bf16_planes.split import bf16_parts
from engine.lowering import lower
from engine.lowering.machine import Machine
from engine.plan.build import Plan, build
from engine.plan.weights import WeightStore
from engine.runtime.runner import run_plan
from engine.runtime.teams import team_of

Array = NDArray[Any]
Shape = tuple[int, int, int, int, int]
SOURCE = np.random.default_rng(16)
F32 = np.dtype(np.float32)
MULTIPLIER, CONTEXT_MULTIPLIER = np.float32(0.3), np.float32(0.5)

# batch, queries, keys, heads, features of a head: panels of every width, sequences that begin within a panel
SHAPES: list[Shape] = [
    (1, 1, 1, 1, 2),
    (1, 16, 16, 3, 64),
    (2, 5, 13, 2, 6),
    (2, 1, 70, 2, 16),
    (3, 33, 33, 1, 32),
    (1, 130, 130, 2, 20),
    (2, 70, 71, 3, 48),
    (3, 20, 75, 2, 64),
]
TILED: list[Shape] = [
    (1, 1, 1, 1, 32),
    (1, 16, 16, 3, 64),
    (2, 5, 13, 2, 64),
    (3, 20, 20, 5, 32),
    (3, 33, 47, 2, 96),
    (1, 130, 130, 2, 64),
    (3, 20, 75, 1, 128),
]
MASKS: dict[str, Callable[[int, int, int, int], tuple[int, ...]]] = {
    "keys": lambda b, _h, _s, t: (b, 1, 1, t),
    "heads and keys": lambda _b, h, _s, t: (1, h, 1, t),
    "queries and keys": lambda _b, h, s, t: (1, h, s, t),
    "all": lambda b, h, s, t: (b, h, s, t),
}


@pytest.fixture(autouse=True)
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs are offered at every level here, tiles only to whom asks for them."""
    monkeypatch.setattr(bf16, "takes", lambda depth: depth % 2 == 0)
    monkeypatch.setattr(bf16_tiled, "takes", lambda _keys, _depth: False)


def _arrays(shape: Shape, mask: str | None) -> dict[str, Array]:
    b, s, t, heads, depth = shape
    found: dict[str, Array] = {
        name: SOURCE.standard_normal((b, length, heads * depth)).astype(np.float32)
        for name, length in (("q", s), ("k", t), ("v", t))
    }
    if mask is not None:
        added = MASKS[mask](b, heads, s, t)
        found["mask"] = np.where(SOURCE.random(added) < 0.3, -10000, 0).astype(np.float32)
    return found


def _plan(arrays: dict[str, Array], heads: int, cores: int = 2, **other: Any) -> Plan:
    inputs = [graph_input(name, F32, array.shape) for name, array in arrays.items()]
    options: dict[str, Any] = {
        "heads": heads,
        "multiplier": MULTIPLIER,
        "context_multiplier": CONTEXT_MULTIPLIER,
        "probability": None,
        "scores": None,
        "score_multiplier": np.float32(1),
        "zero_masked_rows": False,
        "store": None,
    }
    y = node("attention", *inputs, *[None] * (len(inputs) == 3), **{**options, **other})[0]
    graph, members = Graph(tuple(inputs), (y,), ("y",)), team_of(cores).members
    return build(lower(graph, Machine(members, 1 << 20, "bf16"), WeightStore()), members)


def _run(plan: Plan, arrays: dict[str, Array], cores: int = 2) -> Array:
    return np.asarray(run_plan(plan, team_of(cores), list(arrays.values()))[0])


def _kernel(plan: Plan) -> str:
    return next(layer.kernel.split("__")[0] for layer in plan.layers if layer.op == "attention")


def _rounded(x: Array) -> Array:
    return (bf16_parts(x, 1)[0].astype(np.uint32) << np.uint32(16)).view(np.float32)


def _reference(arrays: dict[str, Array], heads: int, rounded: Callable[[Array], Array]) -> Array:
    """[b, s, heads * d], operands and probabilities rounded, everything else in float64."""

    def split(name: str) -> Array:
        x = rounded(arrays[name]).astype(np.float64)
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    scores = split("q") @ split("k").transpose(0, 1, 3, 2) * MULTIPLIER + arrays.get("mask", 0)
    p = rounded(np.exp(scores - scores.max(-1, keepdims=True)).astype(np.float32)).astype(np.float64)
    context = (p @ split("v")) / p.sum(-1, keepdims=True) * CONTEXT_MULTIPLIER
    return np.asarray(context.transpose(0, 2, 1, 3).reshape(arrays["q"].shape))


def _check(got: Array, arrays: dict[str, Array], heads: int) -> None:
    expected = _reference(arrays, heads, _rounded)
    # A score a last bit off may send a probability to its other neighbour: 2**-8 of it, and few do.
    off = np.abs(got - expected)
    largest = np.abs(arrays["v"]).max()
    assert off.max() <= 2.0**-9 * largest
    assert np.sqrt(np.mean(off**2)) <= 2.0**-13 * largest
    exact = _reference(arrays, heads, lambda x: x)
    # Scores of size 5 off by 2**-8 of themselves, values and probabilities by as much.
    assert np.abs(got - exact).max() <= 2.0**-5 * largest


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mask", [None, *MASKS])
def test_attention_in_pairs_rounds_operands_and_probabilities_alone(shape: Shape, mask: str | None) -> None:
    arrays = _arrays(shape, mask)
    plan = _plan(arrays, shape[3])
    assert _kernel(plan) == "attention_bf16"
    got = _run(plan, arrays)
    _check(got, arrays, shape[3])
    assert np.array_equal(got, _run(_plan(arrays, shape[3], 1), arrays, 1)), "threads do not change a bit"


@pytest.mark.parametrize("shape", TILED)
@pytest.mark.parametrize("mask", [None, "keys", "queries and keys"])
def test_attention_on_tiles_rounds_operands_and_probabilities_alone(
    shape: Shape, mask: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bf16_tiled, "takes", lambda _keys, _depth: True)
    arrays = _arrays(shape, mask)
    plan = _plan(arrays, shape[3])
    assert _kernel(plan) == "attention_bf16_tiles"
    got = _run(plan, arrays)
    _check(got, arrays, shape[3])
    assert np.array_equal(got, _run(_plan(arrays, shape[3], 1), arrays, 1)), "threads do not change a bit"


@pytest.mark.parametrize("tiles", [False, True])
@pytest.mark.parametrize("keys", [1, 13, 31, 40])
def test_sequences_do_not_see_each_other(keys: int, tiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bf16_tiled, "takes", lambda _keys, _depth: tiles)
    arrays = _arrays((4, 3, keys, 2, 64), None)
    clean = _run(_plan(arrays, 2), arrays)
    for name in "kv":
        arrays[name][1::2] = np.nan
    got = _run(_plan(arrays, 2), arrays)
    assert np.array_equal(got[::2], clean[::2])
    assert np.isnan(got[1::2]).all()


@pytest.mark.parametrize("tiles", [False, True])
def test_wholly_masked_queries_are_zero_or_no_number(tiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bf16_tiled, "takes", lambda _keys, _depth: tiles)
    arrays = _arrays((1, 4, 5, 2, 32), "queries and keys")
    arrays["mask"][:] = -np.inf
    arrays["mask"][0, :, 1, 3] = 0
    zeros, nans = (_run(_plan(arrays, 2, zero_masked_rows=zero), arrays) for zero in (True, False))
    only = _rounded(arrays["v"])[:, 3] * CONTEXT_MULTIPLIER
    for got, others in ((zeros, 0.0), (nans, np.nan)):
        assert np.array_equal(got[:, 1], only), "one key: its value is the context"
        np.testing.assert_array_equal(got[:, [0, 2, 3]], np.full_like(got[:, [0, 2, 3]], others))


def test_a_lowest_mask_leaves_a_query_the_mean() -> None:
    arrays = _arrays((1, 20, 20, 1, 8), "queries and keys")
    arrays["mask"][:] = np.finfo(np.float32).min
    got = _run(_plan(arrays, 1), arrays)
    expected = _rounded(arrays["v"]).mean(axis=1, keepdims=True, dtype=np.float64) * CONTEXT_MULTIPLIER
    np.testing.assert_allclose(got, np.broadcast_to(expected, got.shape), atol=1e-6)


@pytest.mark.parametrize("holes", [0.0, 0.5])
def test_keys_of_no_weight_change_no_bit_wherever_they_are(holes: float) -> None:
    arrays = _arrays((1, 20, 41, 2, 10), "keys")
    hidden = np.arange(41) >= 30
    hidden[:30] = SOURCE.random(30) < holes
    arrays["mask"][:] = np.where(hidden, np.float32(-10000), np.float32(0))
    kept = {name: x[:, ~hidden] if name in "kv" else x for name, x in arrays.items() if name != "mask"}
    assert np.array_equal(_run(_plan(arrays, 2), arrays), _run(_plan(kept, 2), kept))


def test_contexts_can_be_stored_as_bytes() -> None:
    arrays = _arrays((2, 20, 20, 2, 16), None)
    store = ("quantized", np.float32(0.01), 128)
    plain, stored = (_run(_plan(arrays, 2, store=how), arrays) for how in (None, store))
    assert np.array_equal(stored, np.clip(np.rint(plain / np.float32(0.01)) + 128, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("depth", "other"),
    [
        (9, {}),
        (8, {"probability": (np.float32(1 / 255), 0)}),
        (8, {"scores": ((np.float32(0.25), 120), None, None)}),
    ],
)
def test_what_does_not_fit_is_computed_in_float32(depth: int, other: dict[str, Any]) -> None:
    arrays = _arrays((1, 5, 5, 2, depth), None)
    assert _kernel(_plan(arrays, 2, **other)) == "attention_f32"


@pytest.mark.parametrize(
    ("keys", "depth", "expected"), [(64, 64, True), (63, 64, False), (64, 32, True), (512, 48, False)]
)
def test_only_enough_keys_and_whole_tiles_are_worth_it(
    keys: int, depth: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(bf16_tiled, "EMULATED", False)
    assert bf16_tiled.takes(keys, depth) is expected
    monkeypatch.setattr(bf16_tiled, "EMULATED", True)
    assert not bf16_tiled.takes(keys, depth)
