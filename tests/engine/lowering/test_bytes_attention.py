"""Attention of bytes against float64: heads of any width, keys of any number, masks that hide, bias or say nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.graph import Graph, graph_input, node
from engine.lowering import lower
from engine.lowering.machine import Machine
from engine.plan.build import build
from engine.plan.weights import WeightStore
from engine.runtime.runner import run_plan
from engine.runtime.teams import team_of

Array = NDArray[Any]
F32, U8 = np.dtype(np.float32), np.dtype(np.uint8)
ZEROS = (134, 120, 130)
MULTIPLIER, CONTEXT = np.float32(4e-4), np.float32(2.0**-8)
LOWEST = float(np.finfo(np.float32).min)

# batch, queries, keys, heads, features of a head: panels of every width, sequences that begin within a panel
SHAPES = [
    (1, 1, 1, 1, 16),
    (1, 16, 16, 12, 64),
    (1, 33, 33, 2, 64),
    (2, 21, 21, 3, 32),
    (3, 50, 50, 2, 20),
    (4, 7, 75, 2, 64),
    (1, 130, 130, 2, 128),
    (5, 18, 18, 1, 4),
]
STORES: list[tuple[Any, ...] | None] = [
    None,
    ("quantized", np.float32(0.25), 117),
    ("centred", np.float32(0.25), 7),
]


def _mask(kind: str, b: int, s: int, t: int) -> Array | None:
    random = np.random.default_rng(b * 1000 + t)
    hidden = random.random((b, 1, 1, t)) < 0.4
    hidden[..., t // 2] = False
    numbers: dict[str, Any] = {
        "all seen": np.zeros((b, 1, 1, t)),
        "hidden": np.where(hidden, -10000, 0),
        "hidden for ever": np.where(hidden, -np.inf, 0),
        "lowest": np.where(hidden, LOWEST, 0),
        "biased": np.where(hidden, -2.5, 0.5),
        "biased a little": np.where(hidden, -1.0, 0),
        "wholly masked": np.where(
            np.arange(b)[:, None, None, None] == 0, -10000, np.where(hidden, -10000, 0)
        ),
        "one number": np.full((1, 1, 1, 1), -3.0),
        "of heads": np.where(random.random((b, 2, 1, t)) < 0.4, -10000, 0),
        "of queries": np.where(random.random((b, 1, s, t)) < 0.4, -4, 0),
    }
    return None if kind == "none" else np.asarray(numbers[kind], np.float32)


KINDS = (
    "none",
    "all seen",
    "hidden",
    "hidden for ever",
    "lowest",
    "biased",
    "biased a little",
    "wholly masked",
    "one number",
)


def _operands(shape: tuple[int, ...]) -> list[Array]:
    b, s, t, heads, depth = shape
    random = np.random.default_rng(sum(shape))
    return [
        np.clip(np.rint(random.normal(128, 60, (b, n, heads * depth))), 0, 255).astype(np.uint8)
        for n in (s, t, t)
    ]


def _run(
    operands: list[Array], mask: Array | None, heads: int, members: int = 2, expected: int = 2, **changed: Any
) -> Array:
    """By so many members, of a plan for `expected` of them."""
    inputs = [graph_input(n, U8, array.shape) for n, array in zip("qkv", operands, strict=True)]
    arrays = list(operands)
    if mask is not None:
        inputs.append(graph_input("mask", F32, mask.shape))
        arrays.append(mask)
    options: dict[str, Any] = {
        "heads": heads,
        "multiplier": MULTIPLIER,
        "score_multiplier": np.float32(1),
        "context_multiplier": CONTEXT,
        "probability": (np.float32(1 / 255), 0),
        "scores": None,
        "zero_masked_rows": False,
        "store": None,
    }
    options |= dict(zip(("q_zero", "k_zero", "v_zero"), ZEROS, strict=True)) | changed
    y = node("quantized_attention", *inputs, *[None] * (mask is None), **options)[0]
    team = team_of(members)
    plan = build(
        lower(Graph(tuple(inputs), (y,), ("y",)), Machine(expected, 1 << 20, "f32"), WeightStore()),
        team.members,
    )
    return np.array(run_plan(plan, team, arrays)[0])


def _expected(
    operands: list[Array], mask: Array | None, heads: int, step: float = float(np.float32(1 / 255))
) -> Array:
    """The context before it is stored, probabilities rounded to 8 bits; scores in float32, as the graph has them."""
    q, k, v = (
        (x.astype(np.float64) - zero).reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)
        for x, zero in zip(operands, ZEROS, strict=True)
    )
    scores = (q @ k.transpose(0, 1, 3, 2)).astype(np.float32) * MULTIPLIER
    scores = (scores if mask is None else scores + mask).astype(np.float64)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    p = np.clip(np.rint(e / e.sum(-1, keepdims=True) / step), 0, 255)
    context = (p @ v) * float(CONTEXT)
    return np.asarray(context.transpose(0, 2, 1, 3).reshape(operands[0].shape))


def _is_close(mine: Array, theirs: Array, store: tuple[Any, ...] | None) -> None:
    """But for a probability a last bit off, now and then, and what that moves: 255 / 256 at most, or a step of bytes."""
    if store is not None:
        zero = store[2]
        theirs = np.clip(np.rint(theirs / float(store[1])) + zero, 0, 255) - (
            zero if store[0] == "centred" else 0
        )
    off = np.abs(mine.astype(np.float64) - theirs)
    assert off.max() <= (4 if store is not None else 1)
    assert np.mean(off > 1e-3) < 0.01


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("store", STORES, ids=lambda store: "f32" if store is None else store[0])
def test_attention_of_bytes_is_that_of_the_graph(shape: Any, kind: str, store: Any) -> None:
    mask, operands = _mask(kind, shape[0], shape[1], shape[2]), _operands(shape)
    _is_close(_run(operands, mask, shape[3], store=store), _expected(operands, mask, shape[3]), store)


@pytest.mark.parametrize("kind", ["of heads", "of queries"])
def test_masks_may_differ_by_head_or_query(kind: str) -> None:
    mask, operands = _mask(kind, 2, 40, 40), _operands((2, 40, 40, 2, 32))
    _is_close(_run(operands, mask, 2), _expected(operands, mask, 2), None)


@pytest.mark.parametrize("step", [1 / 255, 1 / 1000, 2e-7, 0.03])
def test_probabilities_beyond_the_last_byte_are_bounded(step: float) -> None:
    operands, probability = _operands((1, 40, 40, 2, 32)), np.float32(step)
    mine = _run(operands, None, 2, probability=(probability, 0))
    _is_close(mine, _expected(operands, None, 2, float(probability)), None)


@pytest.mark.parametrize("step", [1e-4, 1e-30, 1e30])
def test_contexts_beyond_the_last_byte_are_bounded(step: float) -> None:
    store, operands = ("quantized", np.float32(step), 100), _operands((1, 40, 40, 2, 32))
    _is_close(_run(operands, None, 2, store=store), _expected(operands, None, 2), store)


@pytest.mark.parametrize("multiplier", [1e-9, 0.05, 40.0, -4e-4])
def test_multipliers_may_be_anything(multiplier: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.MULTIPLIER", np.float32(multiplier))
    operands = _operands((1, 40, 40, 2, 32))
    _is_close(_run(operands, None, 2, multiplier=MULTIPLIER), _expected(operands, None, 2), None)


@pytest.mark.parametrize("store", STORES[:2], ids=["f32", "quantized"])
@pytest.mark.parametrize("tokens", [1, 15, 40])
def test_hidden_keys_change_no_bit(tokens: int, store: Any) -> None:
    operands = _operands((2, 40, 70, 3, 64))
    mask = np.zeros((2, 1, 1, 70), np.float32)
    mask[..., tokens:] = -10000
    few = [operands[0], *(np.ascontiguousarray(x[:, :tokens]) for x in operands[1:])]
    assert np.array_equal(_run(operands, mask, 3, store=store), _run(few, None, 3, store=store))


def test_a_sequence_alone_gives_what_it_gives_in_a_batch() -> None:
    operands = _operands((3, 21, 21, 3, 32))
    whole = _run(operands, None, 3)
    for i in range(3):
        alone = _run([np.ascontiguousarray(x[i : i + 1]) for x in operands], None, 3, members=1)
        assert np.array_equal(whole[i], alone[0])


@pytest.mark.parametrize("store", STORES[:2], ids=["f32", "quantized"])
def test_tiles_of_sixteen_queries_give_what_those_of_a_panel_give(store: Any) -> None:
    operands = _operands((2, 70, 70, 3, 64))
    mask = _mask("hidden", 2, 70, 70)
    few, many = (_run(operands, mask, 3, store=store, expected=n) for n in (2, 64))
    assert np.array_equal(few, many)
