"""Disentangled attention is one step where the distance alone says which embedding is met."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from form_check import check, random
from reference.onnx_builder import ModelBuilder

from engine import graph

LENGTH, HEADS, DEPTH, POSITIONS = 6, 2, 4, 9
DISTANCE = np.arange(LENGTH)[:, None] - np.arange(LENGTH)
BUCKETS = np.clip(DISTANCE + 4, 1, 7)


def _model(
    batch: int, first: np.ndarray, second: np.ndarray, *, late: bool, masked: bool, one_sided: bool = False
) -> tuple[ModelBuilder, dict[str, np.ndarray]]:
    """As DeBERTa is exported: heads joined with the batch, embeddings repeated for each sequence."""
    b = ModelBuilder(opset=17)
    shape = (batch, LENGTH, HEADS * DEPTH)
    feeds = {name: random(*shape, seed=seed) for seed, name in enumerate("qkv")}
    number = b.number(3.5)

    def split(name: str) -> str:
        wide = b.op("Reshape", b.input(name, np.float32, shape), b.ints(batch, LENGTH, HEADS, DEPTH))
        rows = b.op("Transpose", wide, perm=[0, 2, 1, 3])
        return b.op("Reshape", rows, b.ints(batch * HEADS, LENGTH, DEPTH))

    def met(x: str, seed: int, index: np.ndarray) -> str:
        positions = np.tile(random(HEADS, DEPTH, POSITIONS, seed=seed), (batch, 1, 1))
        product = b.op("MatMul", x, b.weight(positions))
        whole = np.broadcast_to(index, (batch * HEADS, LENGTH, LENGTH)).astype(np.int64)
        return b.op("GatherElements", product, b.weight(whole), axis=-1)

    q, k, v = (split(name) for name in "qkv")
    across = b.op("Div", b.op("Transpose", k, perm=[0, 2, 1]), number)
    by_queries = b.op("Div", met(q, 7, first), number)
    summed = b.op("Add", by_queries, b.number(0))
    if not one_sided:
        by_keys = b.op("Div", b.op("Transpose", met(k, 8, second.T), perm=[0, 2, 1]), number)
        summed = b.op("Add", *((by_keys, summed) if late else (summed, by_keys)))
    scores = b.op("Add", b.op("MatMul", q, across), summed)
    scores = b.op("Reshape", scores, b.ints(batch, HEADS, LENGTH, LENGTH))
    if masked:
        feeds["mask"] = np.arange(batch * LENGTH).reshape(batch, LENGTH) % 5 != 4
        wide = b.op("Unsqueeze", b.input("mask", np.bool_, feeds["mask"].shape), b.ints(1, 2))
        scores = b.op("Where", b.op("Not", wide), b.number(float(np.finfo(np.float32).min)), scores)
    p = b.op("Reshape", b.op("Softmax", scores, axis=-1), b.ints(batch * HEADS, LENGTH, LENGTH))
    context = b.op("Reshape", b.op("MatMul", p, v), b.ints(batch, HEADS, LENGTH, DEPTH))
    b.output(b.op("Reshape", b.op("Transpose", context, perm=[0, 2, 1, 3]), b.ints(*shape)))
    return b, feeds


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_both_products_are_the_attentions_own(batch: int, late: bool, masked: bool) -> None:
    b, feeds = _model(batch, BUCKETS, BUCKETS, late=late, masked=masked)
    after = check(b, feeds)
    found = graph.census(after)
    assert (found["attention"], found["MatMul"], found["GatherElements"]) == (1, 0, 0)
    attention = next(node for node in after.nodes() if node.op == "attention")
    assert attention.attrs["buckets"] == tuple(np.clip(np.arange(-5, 6) + 3, 0, 6).tolist())


OTHERS: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "other buckets for keys": lambda: (BUCKETS, np.clip(DISTANCE + 4, 1, 6)),
    "falling": lambda: (BUCKETS[::-1, ::-1].T[::-1], BUCKETS[::-1]),
    "falling with the distance": lambda: (8 - BUCKETS, 8 - BUCKETS),
    "by twos": lambda: (np.clip(2 * DISTANCE + 4, 0, 8), np.clip(2 * DISTANCE + 4, 0, 8)),
    "by more than the distance": lambda: (np.maximum(BUCKETS, np.arange(LENGTH)),) * 2,
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS.keys())
def test_other_embeddings_are_gathered(make: Callable[[], tuple[np.ndarray, np.ndarray]]) -> None:
    b, feeds = _model(2, *make(), late=False, masked=False)
    assert graph.census(check(b, feeds))["GatherElements"] == 2


def test_one_product_alone_is_gathered() -> None:
    b, feeds = _model(2, BUCKETS, BUCKETS, late=False, masked=True, one_sided=True)
    assert graph.census(check(b, feeds))["GatherElements"] == 1
