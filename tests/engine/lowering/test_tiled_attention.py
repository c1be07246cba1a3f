"""Attention of bytes on tiles gives what it gives without them, to the bit; emulated where the level has no tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.graph import Graph, graph_input, node
from engine.kernels.attention import tiled
from engine.lowering import lower
from engine.lowering.machine import Machine
from engine.plan.build import build
from engine.plan.weights import WeightStore
from engine.runtime.runner import run_plan
from engine.runtime.teams import team_of

Array = NDArray[Any]
Shape = tuple[int, int, int, int, int]
SOURCE = np.random.default_rng(6)
F32, U8 = np.dtype(np.float32), np.dtype(np.uint8)

# batch, queries, keys, heads, features of a head: panels of every width, sequences that begin within a panel
SHAPES: list[Shape] = [
    (1, 1, 1, 1, 32),
    (1, 16, 16, 3, 64),
    (2, 5, 13, 2, 64),
    (2, 20, 20, 5, 32),
    (3, 33, 33, 1, 32),
    (1, 130, 130, 2, 64),
    (2, 70, 70, 3, 32),
    (3, 20, 75, 2, 64),
]
ZEROS = [(128, 128, 128), (0, 255, 7), (255, 0, 128), (117, 90, 255)]
MASKS: dict[str, Callable[[int, int, int, int], tuple[int, ...]]] = {
    "keys": lambda b, _h, _s, t: (b, 1, 1, t),
    "queries and keys": lambda _b, h, s, t: (1, h, s, t),
}


def _attention(
    shape: Shape, zeros: tuple[int, ...], mask: str | None, store: Any
) -> tuple[Graph, list[Array]]:
    b, s, t, heads, depth = shape
    inputs = [graph_input(n, U8, (b, length, heads * depth)) for n, length in (("q", s), ("k", t), ("v", t))]
    arrays: list[Array] = [SOURCE.integers(0, 256, value.shape).astype(np.uint8) for value in inputs]
    if mask is not None:
        added = MASKS[mask](b, heads, s, t)
        inputs.append(graph_input("mask", F32, added))
        arrays.append(np.where(SOURCE.random(added) < 0.3, -10000, 0).astype(np.float32))
    options: dict[str, Any] = {
        "heads": heads,
        "multiplier": np.float32(2e-5),
        "score_multiplier": np.float32(1e-4),
        "context_multiplier": np.float32(2.0**-7),
        "probability": (np.float32(1 / 255), 0),
        "scores": None,
        "zero_masked_rows": False,
        "store": store,
    }
    options |= dict(zip(("q_zero", "k_zero", "v_zero"), zeros, strict=True))
    y = node("quantized_attention", *inputs, *[None] * (mask is None), **options)[0]
    return Graph(tuple(inputs), (y,), ("y",)), arrays


def _run(graph: Graph, arrays: list[Array], monkeypatch: pytest.MonkeyPatch, *, tiles: bool) -> Array:
    monkeypatch.setattr(tiled, "takes", lambda _keys, _depth: tiles)
    team = team_of(2)
    plan = build(lower(graph, Machine(team.members, 1 << 20, "f32"), WeightStore()), team.members)
    assert any(layer.kernel.startswith("attention_u8_tiles") for layer in plan.layers) is tiles
    return np.asarray(run_plan(plan, team, arrays)[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("zeros", ZEROS)
@pytest.mark.parametrize("mask", [None, *MASKS])
def test_tiles_change_no_bit(
    shape: Shape, zeros: tuple[int, ...], mask: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, arrays = _attention(shape, zeros, mask, None)
    plain, on_tiles = (_run(graph, arrays, monkeypatch, tiles=tiles) for tiles in (False, True))
    assert np.isfinite(plain).all()
    assert np.array_equal(on_tiles, plain)


def test_contexts_can_be_stored_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, arrays = _attention(
        (2, 40, 40, 3, 32), (120, 130, 140), "keys", ("quantized", np.float32(1.5), 128)
    )
    plain, on_tiles = (_run(graph, arrays, monkeypatch, tiles=tiles) for tiles in (False, True))
    assert np.array_equal(on_tiles, plain)
    assert len(np.unique(plain)) > 10


@pytest.mark.parametrize(
    ("keys", "depth", "expected"), [(64, 64, True), (63, 64, False), (64, 32, True), (512, 48, False)]
)
def test_only_enough_keys_and_whole_tiles_are_worth_it(
    keys: int, depth: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiled, "EMULATED", False)
    assert tiled.takes(keys, depth) is expected
    monkeypatch.setattr(tiled, "EMULATED", True)
    assert not tiled.takes(keys, depth)
