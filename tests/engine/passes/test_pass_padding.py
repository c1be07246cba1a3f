"""The input that says what is padding is found by what masks do, not by how they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine.graph import Graph, Value, constant, graph_input, node
from engine.passes.padding import padding_input

B, T, K = 2, 5, 8
F32 = np.dtype(np.float32)


def _number(value: float) -> Value:
    return constant(np.asarray(value, np.float32))


def _wide(mask: Value, dtype: Any = np.float32) -> Value:
    cast = node("Cast", mask, to=np.dtype(dtype))[0]
    return node("Reshape", cast, shape=(B, 1, 1, T))[0]


def _scaled(low: float) -> Callable[[Value], Value]:
    return lambda mask: node("Mul", node("Sub", _number(1), _wide(mask))[0], _number(low))[0]


def _chosen(mask: Value) -> Value:
    return node("Where", _wide(mask, np.bool_), _number(0), _number(float(np.finfo(np.float32).min)))[0]


def _inverted(mask: Value) -> Value:
    return node("Mul", _wide(mask), _number(-10000))[0]


def _shifted(mask: Value) -> Value:
    return node("Add", _scaled(-10000)(mask), _number(1))[0]


def _of_queries(mask: Value) -> Value:
    causal = np.triu(np.full((1, 1, T, T), -10000, np.float32), 1)
    return node("Add", _scaled(-10000)(mask), constant(causal))[0]


def _biased(mask: Value) -> Value:
    bias = np.random.default_rng(1).standard_normal((1, 2, T, T)).astype(np.float32)
    return node("Add", constant(bias), _chosen(mask))[0]


def _of_pairs(mask: Value) -> Value:
    down = node("Reshape", node("Cast", mask, to=F32)[0], shape=(B, 1, T, 1))[0]
    pairs = node("Cast", node("Mul", _wide(mask), down)[0], to=np.dtype(np.bool_))[0]
    return node("Where", pairs, _number(0), _number(float(np.finfo(np.float32).min)))[0]


def _hiding_a_token(mask: Value) -> Value:
    hidden = np.zeros((1, 1, T, T), np.float32)
    hidden[:, :, 2] = -1e38
    return node("Add", constant(hidden), _chosen(mask))[0]


def _attention(mask: Value | None) -> Value:
    q, k, v = (graph_input(name, F32, (B, T, K)) for name in "qkv")
    attrs: dict[str, Any] = {
        "heads": 2,
        "multiplier": 1.0,
        "probability": None,
        "scores": None,
        "context_multiplier": 1.0,
        "store": None,
        "zero_masked_rows": False,
    }
    inputs = (q, k, v) if mask is None else (q, k, v, mask)
    return node("attention", *inputs, **attrs)[0]


def _graph(*outputs: Value) -> Graph:
    named = {
        entry[0].node.name: entry[0]
        for entry in Graph((), outputs, ("y",) * len(outputs)).nodes()
        if entry.op == "Input"
    }
    return Graph(tuple(named.values()), outputs, tuple(f"y{i}" for i in range(len(outputs))))


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (_scaled(-10000), True),
        (_scaled(-1e9), True),
        (_chosen, True),
        (_scaled(-100), False),
        (_inverted, False),
        (_shifted, False),
        (_of_queries, False),
        (_biased, True),
        (_of_pairs, True),
        (_hiding_a_token, False),
    ],
    ids=[
        *("sub mul", "lower", "where", "not low enough", "inverted", "tokens are not 0", "per query"),
        *("biased", "of pairs", "a token that sees nothing"),
    ],
)
def test_the_mask_of_every_attention(written: Callable[[Value], Value], found: bool) -> None:
    mask = graph_input("attention_mask", np.dtype(np.int64), (B, T))
    graph = _graph(_attention(written(mask)), _attention(written(mask)))
    assert padding_input(graph) == ("attention_mask" if found else None)


def test_one_attention_without_it_and_there_is_none() -> None:
    mask = graph_input("attention_mask", np.dtype(np.int64), (B, T))
    assert padding_input(_graph(_attention(_chosen(mask)), _attention(None))) is None


def test_two_inputs_that_mask_are_none() -> None:
    masks = [graph_input(name, np.dtype(np.int64), (B, T)) for name in ("first", "second")]
    assert padding_input(_graph(*(_attention(_chosen(mask)) for mask in masks))) is None


def test_a_graph_without_attention_has_none() -> None:
    x = graph_input("x", F32, (B, T, K))
    assert padding_input(_graph(node("Relu", x)[0])) is None


def _sum(mask: Value, *, inverted: bool = False) -> Value:
    weights = node("Reshape", node("Cast", mask, to=F32)[0], shape=(B, T, 1))[0]
    if inverted:
        weights = node("Sub", _number(1), weights)[0]
    return node("weighted_sum", graph_input("x", F32, (B, T, K)), weights)[0]


def test_sums_over_positions_leave_the_same_ones_out() -> None:
    mask, other = (graph_input(name, np.dtype(np.int64), (B, T)) for name in ("attention_mask", "other"))
    masked = _attention(_chosen(mask))
    assert padding_input(_graph(masked, _sum(mask))) == "attention_mask"
    assert padding_input(_graph(masked, _sum(mask, inverted=True))) is None
    assert padding_input(_graph(masked, _sum(other))) is None
    assert padding_input(_graph(masked, _sum(mask), _sum(other))) is None
    assert padding_input(_graph(_sum(mask))) is None
