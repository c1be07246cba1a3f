"""Chains of one byte become tables that give what the graph gives for every byte; other chains stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from form_check import check, node_of, random
from reference.onnx_builder import ModelBuilder

from engine import graph

Chain = Callable[[ModelBuilder, str], str]


def rounded(b: ModelBuilder, x: str, scale: float, zero: int, dtype: type = np.uint8) -> str:
    pair = b.number(scale), b.number(zero, dtype)
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *pair), *pair)


def gelu(b: ModelBuilder, x: str) -> str:
    """As a static quantiser leaves it: rounded behind every node but the quotient."""
    e = rounded(b, b.op("Erf", b.op("Div", x, b.number(1.4142135))), 1 / 127, 127)
    one = rounded(b, b.op("Add", e, b.number(1.0)), 2 / 255, 0)
    product = rounded(b, b.op("Mul", x, one), 0.03, 9)
    return b.op("Mul", product, b.number(0.5))


CHAINS: dict[str, Chain] = {
    "gelu": gelu,
    "tanh": lambda b, x: b.op("Tanh", x),
    "signed": lambda b, x: rounded(b, b.op("Sigmoid", x), 1 / 200, -100, np.int8),
    "square and clip": lambda b, x: b.op("Clip", b.op("Mul", x, x), b.number(0.1), b.number(0.9)),
    "selection": lambda b, x: b.op("Where", b.op("Less", x, b.number(0.0)), b.number(0.0), x),
    "only a rounding": lambda b, x: x,
}


def written(chain: Chain, shape: tuple[int, ...] = (2, 3, 8)) -> tuple[ModelBuilder, str]:
    b = ModelBuilder(17)
    return b, rounded(b, chain(b, rounded(b, b.input("x", np.float32, shape), 0.05, 140)), 0.02, 20)


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_a_table_for_every_byte(name: str) -> None:
    b, y = written(CHAINS[name], (256, 1))
    b.output(y)
    feeds = {"x": ((np.arange(256, dtype=np.float32) - 140) * np.float32(0.05))[:, None]}
    after = check(b, feeds, exact=True, atol=0.021)
    assert graph.census(after)["byte_table"] == 1
    assert set(graph.census(after)) == {"quantize", "byte_table", "DequantizeLinear"}


def test_products_on_both_sides_store_and_read_bytes() -> None:
    b, x = ModelBuilder(17), ""
    x = rounded(b, b.input("x", np.float32, (2, 3, 8)), 0.05, 140)
    whole = np.random.default_rng(1).integers(-127, 128, (8, 8)).astype(np.int8)
    w = b.op("DequantizeLinear", b.weight(whole), b.number(2.0**-9))
    y = rounded(b, b.op("Add", b.op("MatMul", x, w), b.weight(random(8))), 0.02, 120)
    b.output(b.op("MatMul", rounded(b, gelu(b, y), 0.02, 20), w))
    check(b, {"x": random(2, 3, 8)}, {"quantize": 1, "quantized_linear": 2, "byte_table": 1}, atol=0.05)


@pytest.mark.parametrize(
    "chain",
    [
        lambda b, x: b.op("Mul", x, b.weight(random(8))),
        lambda b, x: b.op("Add", x, rounded(b, b.input("z", np.float32, (2, 3, 8)), 0.05, 140)),
        lambda b, x: b.op("Softmax", x, axis=-1),
        lambda b, x: b.op("Add", x, b.op("Tanh", b.input("z", np.float32, (2, 3, 8)))),
    ],
    ids=["a constant of features", "two bytes", "not by element", "a float"],
)
def test_other_chains_stay(chain: Chain) -> None:
    b, y = written(chain)
    b.output(y)
    feeds = {"x": random(2, 3, 8), "z": random(2, 3, 8, seed=4)}
    after = check(b, {name: feeds[name] for name in (entry.name for entry in b.inputs)}, atol=0.021)
    assert graph.census(after)["byte_table"] == 0


def test_the_nearer_byte_is_taken_where_the_farther_ones_are_two() -> None:
    b = ModelBuilder(17)
    x, z = (rounded(b, b.input(name, np.float32, (2, 3, 8)), 0.05, 140) for name in "xz")
    total = rounded(b, b.op("Add", x, z), 0.1, 130)
    b.output(rounded(b, gelu(b, total), 0.02, 20))
    after = check(b, {"x": random(2, 3, 8), "z": random(2, 3, 8, seed=4)}, exact=True, atol=0.021)
    table = node_of(after, "byte_table")
    source = table.inputs[0]
    assert source is not None
    assert source.op == "quantize"
