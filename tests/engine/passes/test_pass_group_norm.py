"""Normalisation by channel or by groups of channels is one operator on pixels, with what follows it, and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from form_check import check, node_of, random
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder

from engine import Engine, graph

CHANNELS = 12
SHAPES = [
    (1, CHANNELS, 9, 7),
    (3, CHANNELS, 4, 4),
    (2, CHANNELS, 50),
    (1, CHANNELS, 33, 40),
    (2, CHANNELS, 1, 1),
]
ACTIVATED: dict[Any, Callable[[ModelBuilder, str], str]] = {
    "none": lambda _b, y: y,
    "relu": lambda b, y: b.op("Relu", y),
    "silu": lambda b, y: b.op("Mul", y, b.op("Sigmoid", y)),
    "gelu": lambda b, y: b.op(
        "Mul",
        b.op("Mul", y, b.op("Add", b.op("Erf", b.op("Div", y, b.number(2**0.5))), b.number(1.0))),
        b.number(0.5),
    ),
}


def by_channel(b: ModelBuilder, x: str, shape: tuple[int, ...]) -> str:
    del shape
    return b.op(
        "InstanceNormalization", x, b.weight(random(CHANNELS, seed=5)), b.weight(random(CHANNELS, seed=6))
    )


def by_group(b: ModelBuilder, x: str, shape: tuple[int, ...], groups: int = 4, epsilon: float = 1e-5) -> str:
    """As PyTorch exports it."""
    grouped = b.op("Reshape", x, b.ints(0, groups, -1))
    ones, zeros = (b.weight(np.full(groups, number, np.float32)) for number in (1, 0))
    rows = b.op("InstanceNormalization", grouped, ones, zeros, epsilon=epsilon)
    back = b.op("Reshape", rows, b.ints(*shape))
    gain, bias = (b.weight(random(shape[1], *(1,) * (len(shape) - 2), seed=seed)) for seed in (5, 6))
    return b.op("Add", b.op("Mul", back, gain), bias)


def operator(b: ModelBuilder, x: str, shape: tuple[int, ...]) -> str:
    gain, bias = (b.weight(random(shape[1], seed=seed)) for seed in (5, 6))
    return b.op("GroupNormalization", x, gain, bias, num_groups=3, epsilon=1e-3)


def results(b: ModelBuilder, x: np.ndarray) -> np.ndarray:
    """The engine's, the same to the bit for one core and for two, every step compiled."""
    found = []
    for cores in (1, 2):
        engine = Engine(b.model().SerializeToString(), batch_size=x.shape[0], num_cores=cores)
        assert engine.fraction_of_supported_ops == 1.0
        found.append(engine.run([x])[0])
    assert np.array_equal(found[0], found[1])
    return found[0]


@pytest.mark.parametrize("make", [by_channel, by_group, operator])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATED)
def test_norm_is_one_operator(make: Any, shape: tuple[int, ...], activation: str) -> None:
    b = ModelBuilder(21 if make is operator else 17)
    x = random(*shape) * 3 + 2
    b.output(ACTIVATED[activation](b, make(b, b.input("x", np.float32, shape), shape)))
    # One pixel has its channels last already.
    first = "Reshape" if np.prod(shape[2:]) == 1 else "pixels"
    after = check(b, {"x": x}, {first: 1, "group_norm": 1, "image": 1}, atol=1e-4)
    found = node_of(after, "group_norm")
    assert found.attrs["groups"] == {by_channel: CHANNELS, by_group: 4, operator: 3}[make]
    assert found.attrs["activation"] == activation
    np.testing.assert_allclose(
        results(b, x), graph.evaluate(after, {"x": x})[0].reshape(shape), rtol=1e-5, atol=2e-5
    )


def test_between_convolutions_pixels_stay_pixels() -> None:
    b = ModelBuilder(17)
    x = random(1, 4, 8, 8)
    y = b.op("Conv", b.input("x", np.float32, x.shape), b.weight(random(CHANNELS, 4, 3, 3)), pads=[1] * 4)
    y = b.op("Relu", by_group(b, y, (1, CHANNELS, 8, 8)))
    b.output(b.op("Conv", y, b.weight(random(5, CHANNELS, 1, 1))))
    wanted = {"pixels": 1, "windows": 1, "linear": 2, "group_norm": 1, "image": 1}
    check(b, {"x": x}, wanted, atol=1e-3)


def test_gain_that_others_do_not_share_stays_outside() -> None:
    """A normalised image that two nodes read, and factors of each pixel."""
    b = ModelBuilder(17)
    x = random(1, CHANNELS, 4, 4)
    y = by_channel(b, b.input("x", np.float32, x.shape), x.shape)
    b.output(b.op("Mul", y, b.weight(random(1, 1, 4, 4))), b.op("Mul", y, b.weight(random(CHANNELS, 1, 1))))
    assert graph.census(check(b, {"x": x}, atol=1e-4))["Mul"] == 2


@given(
    shape=st.tuples(st.integers(1, 3), st.sampled_from([1, 4, 20]), st.integers(1, 40), st.integers(1, 20)),
    groups=st.sampled_from([1, 2, 4]),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    offset=st.sampled_from([0.0, 100.0]),
)
def test_any_image(shape: tuple[int, ...], groups: int, scale: float, offset: float) -> None:
    groups = groups if shape[1] % groups == 0 else 1
    x = ((random(*shape) + np.float32(offset)) * np.float32(scale)).astype(np.float32)
    b = ModelBuilder(17)
    b.output(by_group(b, b.input("x", np.float32, shape), shape, groups))
    grouped = x.astype(np.float64).reshape(shape[0], groups, -1)
    centred = grouped - grouped.mean(axis=2, keepdims=True)
    rows = (centred / np.sqrt(np.mean(centred**2, axis=2, keepdims=True) + 1e-5)).reshape(shape)
    want = rows * random(shape[1], 1, 1, seed=5) + random(shape[1], 1, 1, seed=6)
    # Of numbers a hundred times their spread, seven bits are gone before anything is computed.
    np.testing.assert_allclose(results(b, x), want, rtol=1e-4, atol=1e-5 if offset == 0 else 2e-3)
