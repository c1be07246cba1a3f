"""Attention in every way of writing it becomes one attention; what is read from inside keeps it apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from attention_forms import LOWEST, Attention, write
from form_check import MASK_OPS, check, node_of
from reference.onnx_builder import ModelBuilder
from reference.quantised_oracle import attention

from engine import graph

FLOAT_FORMS = [
    *(Attention(scaling=scaling) for scaling in ("div", "mul", "late", "query", "both", "flat", "none")),
    *(Attention(keys=keys) for keys in ("twice", "batched")),
    Attention(keys="batched", scaling="both"),
    *(Attention(mask=mask) for mask in ("none", "additive", "where", "boolean")),
    Attention(mask="boolean", guard=True),
    Attention(batch=1, length=1),
    Attention(batch=1, length=1, heads=1, depth=1),
    Attention(batch=3, length=1),
    Attention(batch=1, length=7, heads=1),
    Attention(projected=True),
]


def describe(form: Attention) -> str:
    plain = Attention()
    named = [f"{name}={value}" for name, value in vars(form).items() if value != getattr(plain, name)]
    return " ".join(named) or "plain"


def fused(form: Attention, **bounds: Any) -> graph.Graph:
    b = ModelBuilder()
    b.output(write(b, form)["y"])
    return check(b, form.feeds(), **bounds)


@pytest.mark.parametrize("form", FLOAT_FORMS, ids=describe)
def test_attention_is_one_node_beside_the_computation_of_its_mask(form: Attention) -> None:
    after = fused(form)
    node = node_of(after, "attention")
    assert node.attrs["heads"] == form.heads
    assert node.attrs["zero_masked_rows"] == form.guard
    assert set(graph.census(after)) - {"attention", "linear"} <= MASK_OPS


def test_attention_is_the_textbook_one() -> None:
    form = Attention(mask="additive")
    feeds = form.feeds()
    expected = attention(feeds["q"], feeds["k"], feeds["v"], feeds["mask"], form.heads, form.depth**-0.5)
    np.testing.assert_allclose(graph.evaluate(fused(form), feeds)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", ["boolean", "int"])
def test_wholly_masked_row_is_treated_as_the_graph_treats_it(mask: str) -> None:
    form = Attention(mask=mask, guard=mask == "boolean")
    b = ModelBuilder()
    b.output(write(b, form)["y"])
    feeds = form.feeds()
    feeds["mask"][-1] = 0
    after = check(b, feeds)
    found = graph.evaluate(after, feeds)[0][-1]
    assert (not found.any()) == (mask == "boolean")


@pytest.mark.parametrize("tap", ["scores", "masked", "p", "context", "queries", "values"])
def test_attention_whose_inside_is_an_output_stays(tap: str) -> None:
    b = ModelBuilder()
    names = write(b, Attention())
    b.output(names["y"], names[tap])
    assert graph.census(check(b, Attention().feeds()))["attention"] == 0


@pytest.mark.parametrize("tap", ["p", "context"])
def test_attention_whose_inside_has_another_reader_stays(tap: str) -> None:
    b = ModelBuilder()
    names = write(b, Attention())
    b.output(names["y"], b.op("Neg", names[tap]))
    assert graph.census(check(b, Attention().feeds()))["attention"] == 0


def test_softmax_over_queries_stays() -> None:
    b = ModelBuilder()
    y = write(b, Attention(mask="none"))["y"]
    next(node for node in b.nodes if node.op_type == "Softmax").attribute[0].i = -2
    b.output(y)
    assert graph.census(check(b, Attention(mask="none").feeds()))["attention"] == 0


def test_finite_number_in_place_of_scores_stays() -> None:
    """Only a number below all scores may be added instead."""
    form = Attention(mask="where")
    b = ModelBuilder()
    q, k, v = (b.input(name, np.float32, (2, 5, form.width)) for name in "qkv")
    names = {"q": (q, (0, 2, 1, 3)), "k": (k, (0, 2, 3, 1)), "v": (v, (0, 2, 1, 3))}
    heads = {
        name: b.op("Transpose", b.op("Reshape", x, b.ints(2, 5, form.heads, form.depth)), perm=perm)
        for name, (x, perm) in names.items()
    }
    scores = b.op("MatMul", heads["q"], heads["k"])
    p = b.op("Softmax", b.op("Where", b.op("Less", scores, b.number(0)), b.number(-1), scores), axis=-1)
    y = b.op("Transpose", b.op("MatMul", p, heads["v"]), perm=[0, 2, 1, 3])
    b.output(b.op("Reshape", y, b.ints(2, 5, form.width)))
    feeds = {name: array for name, array in form.feeds().items() if name != "mask"}
    assert graph.census(check(b, feeds))["attention"] == 0


@pytest.mark.parametrize(("batch", "length"), [(2, 5), (1, 1), (3, 1), (1, 4)])
@pytest.mark.parametrize("mask", ["expanded", "indexed", "gathered"])
def test_padding_mask_in_disguise_is_written_plainly(mask: str, batch: int, length: int) -> None:
    form = Attention(mask=mask, batch=batch, length=length)
    after = fused(form)
    assert set(graph.census(after)) <= {"attention", "Cast", "Equal", "Reshape", "Where", "Sub"}, graph.show(
        after
    )
    node = node_of(after, "attention")
    assert node.inputs[3] is not None
    assert node.inputs[3].shape == (batch, 1, 1, length)


@pytest.mark.parametrize("numbers", [[0, 0, 0, 0, 0], [1, 0, 2, -1, 0]])
@pytest.mark.parametrize("mask", ["expanded", "indexed"])
def test_padding_mask_means_the_same_for_every_number(mask: str, numbers: list[int]) -> None:
    form = Attention(mask=mask)
    b = ModelBuilder()
    b.output(write(b, form)["y"])
    check(b, {**form.feeds(), "mask": np.array([numbers, numbers[::-1]], np.int64)})


def test_mask_that_rounding_makes_zero_is_dropped() -> None:
    b = ModelBuilder()
    q, k, v = (b.input(name, np.float32, (2, 5, 12)) for name in "qkv")
    form = Attention(mask="additive")
    split = [b.op("Transpose", b.op("Reshape", x, b.ints(2, 5, 3, 4)), perm=[0, 2, 1, 3]) for x in (q, k, v)]
    kept = b.op("Cast", b.op("Unsqueeze", b.input("mask", np.int64, (2, 5)), b.ints(1, 2)), to=9)
    pair = (b.number(1.0), b.number(0, np.uint8))
    low = b.op("Where", kept, b.number(0), b.number(-1e30))
    low = b.op("DequantizeLinear", b.op("QuantizeLinear", low, *pair), *pair)
    scores = b.op("MatMul", split[0], b.op("Transpose", split[1], perm=[0, 1, 3, 2]))
    p = b.op("Softmax", b.op("Add", scores, low), axis=-1)
    joined = b.op("Transpose", b.op("MatMul", p, split[2]), perm=[0, 2, 1, 3])
    b.output(b.op("Reshape", joined, b.ints(2, 5, 12)))
    feeds = {**form.feeds(), "mask": np.array([[1, 1, 0, 0, 1], [0] * 5])}
    assert graph.census(check(b, feeds)) == {"attention": 1}


def test_causal_mask_is_a_window_beside_the_padding_mask() -> None:
    after = fused(Attention(mask="causal"))
    node = node_of(after, "attention")
    assert node.inputs[3] is not None
    assert node.inputs[3].shape == (2, 1, 1, 5)
    assert node.attrs["window"] == (4, 0, LOWEST)


QUANTISED = [
    Attention(quantised=style, depth=depth, scaling=scaling, mask=mask)
    for style in ("qdq", "integer", "signed qdq", "rounded qdq", "everywhere")
    for depth, scaling, mask in ((4, "div", "int"), (5, "mul", "none"))
]


@pytest.mark.parametrize("form", QUANTISED, ids=describe)
def test_quantised_attention_reads_centred_numbers(form: Attention) -> None:
    after = fused(form, atol=2e-2)  # one step of a rounded probability or score
    node = node_of(after, "attention")
    assert graph.census(after)["centre"] == 3
    assert node.attrs["probability"] == (np.float32(1 / 255), 0)
    places = [place is not None for place in node.attrs["scores"] or (None, None, None)]
    rounded = {"rounded qdq": [True, False, False], "everywhere": [True, True, form.mask != "none"]}
    assert places == rounded.get(form.quantised, [False, False, False])
    assert set(graph.census(after)) - {"attention", "centre"} <= MASK_OPS


@pytest.mark.parametrize("style", ["qdq", "integer"])
@pytest.mark.parametrize(("depth", "stored"), [(4, "quantized"), (5, "centred")])
def test_products_before_store_rounded_numbers(style: str, depth: int, stored: str) -> None:
    """Bytes where attention can read them, in whole quads of a head's features; else whole numbers."""
    form = Attention(quantised=style, projected=True, depth=depth)
    after = fused(form, atol=5e-2)
    stores = [node.attrs["store"] for node in after.nodes() if node.op == "linear"]
    assert [store[0] for store in stores] == [stored] * 3
    assert graph.census(after)["quantized_attention" if stored == "quantized" else "attention"] == 1
    assert graph.census(after)["centre"] == 0


@pytest.mark.parametrize("style", ["qdq", "integer"])
def test_scaling_in_front_of_the_rounding_stays_there(style: str) -> None:
    form = Attention(quantised=style, scaling="query")
    after = fused(form, atol=2e-2)
    assert node_of(after, "attention").attrs["multiplier"] == pytest.approx(0.02 * 0.025, rel=1e-6)
    assert graph.census(after)["Div"] == 1


def test_exact_sums_make_the_integer_form_bit_equal() -> None:
    """All scales powers of two: no f32 rounding anywhere but in softmax, whose argument is the same number."""
    form = replace(Attention(), quantised="integer", depth=4, mask="none")
    b = ModelBuilder()
    b.output(write(b, form)["y"])
    for node in b.nodes:
        if (
            node.op_type == "Constant"
            and node.attribute[0].t.dims == []
            and node.attribute[0].t.data_type == 1
        ):
            value = np.frombuffer(node.attribute[0].t.raw_data, np.float32)[0]
            if 0 < value < 1:
                node.attribute[0].t.raw_data = np.float32(2.0 ** np.round(np.log2(value))).tobytes()
    for tensor in b.initialisers:
        value = np.frombuffer(tensor.raw_data, np.float32)[0]
        tensor.raw_data = np.float32(2.0 ** np.round(np.log2(value))).tobytes()
    check(b, form.feeds(), exact=True, peer=False)
