"""Attention is found where one product makes queries, keys and values, and where heads are part of a batch."""

from __future__ import annotations

import numpy as np
import pytest
from form_check import check, random
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder

from engine import graph

BATCH, LENGTH, HEADS, DEPTH = 2, 5, 3, 4
WIDTH = HEADS * DEPTH
ROWS, COLUMNS = [0, 2, 1, 3], [0, 2, 3, 1]


@given(
    counts=st.lists(st.integers(1, 4), min_size=2, max_size=3),
    form=st.sampled_from(["slice", "gather"]),
    data=st.data(),
)
def test_parts_of_split_features_are_slices_of_the_features(
    counts: list[int], form: str, data: st.DataObject
) -> None:
    b = ModelBuilder()
    x = random(2, 3, int(np.prod(counts)))
    split = b.op("Reshape", b.input("x", np.float32, x.shape), b.ints(2, 3, *counts))
    first = data.draw(st.integers(-counts[0], counts[0] - 1))
    last = data.draw(st.integers(first % counts[0] + 1, counts[0]))
    if form == "gather":
        part = b.op("Gather", split, b.weight(np.array(first, np.int64)), axis=2)
    else:
        part = b.op("Slice", split, b.ints(first % counts[0]), b.ints(last), b.ints(2))
    b.output(b.op("Neg", part))
    after = check(b, {"x": x}, exact=True, peer=False)
    assert all(node.attrs["axes"] == (2,) for node in after.nodes() if node.op == "Slice")
    assert not any(node.op == "Gather" for node in after.nodes())


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_slices_of_other_axes_stay_behind_the_split(axis: int) -> None:
    b = ModelBuilder()
    x = random(2, 3, 8)
    split = b.op("Reshape", b.input("x", np.float32, x.shape), b.ints(2, 3, 4, 2))
    b.output(b.op("Neg", b.op("Slice", split, b.ints(1), b.ints(2), b.ints(axis))))
    check(b, {"x": x}, exact=True)


def _attend(b: ModelBuilder, queries: str, keys: str, values: str) -> str:
    scores = b.op("Div", b.op("MatMul", queries, keys), b.number(DEPTH**0.5))
    return b.op("MatMul", b.op("Softmax", scores, axis=-1), values)


def _join(b: ModelBuilder, context: str) -> str:
    return b.op("Reshape", b.op("Transpose", context, perm=ROWS), b.ints(BATCH, LENGTH, WIDTH))


@pytest.mark.parametrize("form", ["split", "gather"])
def test_one_product_may_make_queries_keys_and_values(form: str) -> None:
    b = ModelBuilder()
    x = random(BATCH, LENGTH, WIDTH)
    packed = b.op("MatMul", b.input("x", np.float32, x.shape), b.weight(random(WIDTH, 3 * WIDTH, seed=4)))
    wide = b.op("Reshape", packed, b.ints(BATCH, LENGTH, 3, HEADS, DEPTH))
    if form == "split":
        parts = [b.op("Squeeze", part, b.ints(2)) for part in b.ops("Split", wide, count=3, axis=2)]
    else:
        parts = [b.op("Gather", wide, b.weight(np.array(i, np.int64)), axis=2) for i in range(3)]
    sides = [b.op("Transpose", part, perm=p) for part, p in zip(parts, (ROWS, COLUMNS, ROWS), strict=True)]
    b.output(_join(b, _attend(b, *sides)))
    check(b, {"x": x}, {"linear": 1, "Slice": 3, "attention": 1})


@pytest.mark.parametrize("keys", ["direct", "transposed"])
def test_heads_may_be_part_of_the_batch(keys: str) -> None:
    b = ModelBuilder(opset=17)
    feeds = {name: random(BATCH, LENGTH, WIDTH, seed=seed) for seed, name in enumerate("qkv")}

    def side(name: str, perm: list[int]) -> str:
        x = b.input(name, np.float32, feeds[name].shape)
        split = b.op("Transpose", b.op("Reshape", x, b.ints(BATCH, LENGTH, HEADS, DEPTH)), perm=perm)
        last = (LENGTH, DEPTH) if perm == ROWS else (DEPTH, LENGTH)
        return b.op("Reshape", split, b.ints(BATCH * HEADS, *last))

    queries, values = side("q", ROWS), side("v", ROWS)
    across = side("k", COLUMNS) if keys == "direct" else b.op("Transpose", side("k", ROWS), perm=[0, 2, 1])
    context = b.op("Reshape", _attend(b, queries, across, values), b.ints(BATCH, HEADS, LENGTH, DEPTH))
    b.output(_join(b, context))
    check(b, feeds, {"attention": 1})


@pytest.mark.parametrize("leading", [1, BATCH * HEADS])
def test_what_each_head_computes_alone_is_computed_with_an_axis_of_heads(leading: int) -> None:
    b = ModelBuilder(opset=17)
    x = random(BATCH, HEADS, LENGTH, DEPTH)
    joined = b.op("Reshape", b.input("x", np.float32, x.shape), b.ints(BATCH * HEADS, LENGTH, DEPTH))
    product = b.op("MatMul", joined, b.weight(random(leading, DEPTH, 7, seed=5)))
    index = np.random.default_rng(1).integers(0, 7, (BATCH * HEADS, LENGTH, 6))
    taken = b.op("GatherElements", product, b.weight(index), axis=2)
    summed = b.op("Add", taken, b.weight(random(6, seed=6)))
    y = b.op("Transpose", b.op("Softmax", summed, axis=-1), perm=[0, 2, 1])
    b.output(b.op("Reshape", y, b.ints(BATCH, HEADS, 6, LENGTH)))
    after = check(b, {"x": x})
    assert graph.census(after)["Reshape"] == 0
