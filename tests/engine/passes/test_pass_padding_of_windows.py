"""Padding before convolutions and poolings joins their windows where that changes nothing, and stays where it would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from form_check import check, compiled, random
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder, run_peer

from engine import Engine, graph

IMAGE = (2, 8, 9, 7)
Made = Callable[[ModelBuilder, str], str]


def padded(b: ModelBuilder, x: str, pads: tuple[int, ...], fill: Any = None, mode: str = "constant") -> str:
    """Padding of the last axes: begins, then ends."""
    axes = len(pads) // 2
    whole = [0] * (4 - axes) + list(pads[:axes]) + [0] * (4 - axes) + list(pads[axes:])
    value = [] if fill is None else [b.weight(np.asarray(fill))]
    return b.op("Pad", x, b.ints(*whole), *value, mode=mode)


def convolved(b: ModelBuilder, x: str, *, depthwise: bool = False, **attrs: Any) -> str:
    w = random(8, 1, 3, 3) if depthwise else random(12, 8, 3, 3)
    return b.op("Conv", x, b.weight(w), group=8 if depthwise else 1, **attrs)


def rounded(b: ModelBuilder, x: str, zero: int = 100) -> str:
    step, point = b.weight(np.float32(0.04)), b.weight(np.uint8(zero))
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, step, point), step, point)


FOLDED: dict[str, Made] = {
    "after": lambda b, x: convolved(b, padded(b, x, (0, 0, 1, 1)), strides=[2, 2]),
    "depthwise": lambda b, x: convolved(b, padded(b, x, (0, 0, 1, 1)), depthwise=True, strides=[2, 2]),
    "around": lambda b, x: convolved(b, padded(b, x, (1, 2, 3, 0), np.float32(0)), dilations=[1, 2]),
    "beside its own": lambda b, x: convolved(b, padded(b, x, (1, 0, 0, 2)), pads=[0, 1, 2, 0]),
    "two in a row": lambda b, x: convolved(b, padded(b, padded(b, x, (1, 0, 0, 0)), (0, 2, 1, 1))),
    "one axis": lambda b, x: convolved(b, padded(b, x, (1, 2))),
    "before rounding": lambda b, x: convolved(b, rounded(b, padded(b, x, (0, 1, 2, 1)))),
    "means": lambda b, x: b.op(
        "AveragePool", padded(b, x, (1, 0, 1, 1)), kernel_shape=[3, 3], strides=[2, 2]
    ),
    "counted means": lambda b, x: b.op(
        "AveragePool", padded(b, x, (1, 0, 1, 1)), kernel_shape=[3, 3], pads=[0, 1, 1, 0], count_include_pad=1
    ),
    "lowest": lambda b, x: b.op(
        "MaxPool", padded(b, x, (2, 2, 2, 2), np.float32(-np.inf)), kernel_shape=[2, 2]
    ),
    "positive": lambda b, x: b.op(
        "MaxPool", padded(b, b.op("Relu", x), (1, 1, 1, 1)), kernel_shape=[3, 3], strides=[2, 2]
    ),
    "bounded": lambda b, x: b.op(
        "MaxPool", padded(b, b.op("Clip", x, b.number(0), b.number(1)), (0, 0, 1, 1)), kernel_shape=[2, 3]
    ),
}

STAYS: dict[str, Made] = {
    "another number": lambda b, x: convolved(b, padded(b, x, (1, 1, 1, 1), np.float32(0.5))),
    "cut": lambda b, x: convolved(b, padded(b, x, (-1, 0, 1, 0))),
    "mirrored": lambda b, x: convolved(b, padded(b, x, (1, 1, 1, 1), mode="reflect")),
    "channels": lambda b, x: b.op("Conv", padded(b, x, (1, 0, 0, 1, 0, 0)), b.weight(random(4, 10, 3, 3))),
    "uncounted means": lambda b, x: b.op(
        "AveragePool", padded(b, x, (1, 0, 1, 1)), kernel_shape=[3, 3], pads=[0, 1, 1, 0]
    ),
    "negative": lambda b, x: b.op("MaxPool", padded(b, x, (1, 1, 1, 1)), kernel_shape=[3, 3]),
    "windows of padding": lambda b, x: b.op(
        "MaxPool", padded(b, b.op("Relu", x), (3, 1, 1, 1)), kernel_shape=[3, 3]
    ),
    "roundings around another number": lambda b, x: convolved(
        b, rounded(b, padded(b, x, (1, 1, 1, 1), np.float32(0.04)))
    ),
}


@pytest.mark.parametrize("case", FOLDED)
def test_padding_joins_the_window(case: str) -> None:
    b, x = ModelBuilder(17), random(*IMAGE)
    b.output(FOLDED[case](b, b.input("x", np.float32, IMAGE)))
    after = check(b, {"x": x}, atol=1e-4)
    assert graph.census(after)["Pad"] == 0
    (want,) = graph.evaluate(after, {"x": x})
    (got,) = Engine(b.model().SerializeToString(), batch_size=IMAGE[0]).run([x])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("case", STAYS)
def test_padding_stays(case: str) -> None:
    b = ModelBuilder(17)
    b.output(STAYS[case](b, b.input("x", np.float32, IMAGE)))
    after = check(b, {"x": random(*IMAGE)}, atol=1e-4)
    assert graph.census(after)["Pad"] == 1


def bytes_of(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def integers(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(-127, 128, shape).astype(np.int8)


@pytest.mark.parametrize("fill", [100, 0])
@pytest.mark.parametrize("form", ["ConvInteger", "QLinearConv", "DequantizeLinear"])
def test_bytes_padded_by_their_zero_point(form: str, fill: int) -> None:
    b = ModelBuilder(17)
    x = padded(b, b.input("x", np.uint8, IMAGE), (0, 1, 1, 1), np.uint8(fill))
    step, zero, w = b.weight(np.float32(0.04)), b.weight(np.uint8(100)), b.weight(integers(12, 8, 3, 3))
    small, nothing = b.weight(np.float32(0.01)), b.weight(np.int8(0))
    if form == "ConvInteger":
        y = b.op(form, x, w, zero)
    elif form == "QLinearConv":
        y = b.op(form, x, step, zero, w, small, nothing, b.weight(np.float32(2.5)), b.weight(np.uint8(128)))
    else:
        weights = b.op("DequantizeLinear", w, small, nothing)
        y = b.op("Conv", b.op("DequantizeLinear", x, step, zero), weights)
    b.output(y)
    feeds = {"x": bytes_of(*IMAGE)}
    # Half steps may fall the other way where a factor is multiplied in another order.
    after = check(b, feeds, atol=1 if form == "QLinearConv" else 1e-4)
    assert graph.census(after)["Pad"] == (fill != 100)
    (want,) = graph.evaluate(after, feeds)
    (got,) = Engine(b.model().SerializeToString(), batch_size=IMAGE[0]).run([feeds["x"]])
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=1e-5, atol=1e-4)


def test_bytes_are_never_below_zero() -> None:
    b = ModelBuilder(17)
    x = padded(b, b.input("x", np.uint8, IMAGE), (1, 1, 1, 1), np.uint8(0))
    b.output(b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2]))
    after = check(b, {"x": bytes_of(*IMAGE)}, exact=True)
    assert graph.census(after)["Pad"] == 0


@given(data=st.data())
def test_any_padding(data: st.DataObject) -> None:
    """Folded or not, the numbers are onnxruntime's."""

    def numbers(low: int, high: int, count: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(low, high)) for _ in range(count))

    size, kernel, strides = numbers(5, 9, 2), numbers(1, 3, 2), numbers(1, 2, 2)
    b = ModelBuilder(17)
    x = b.input("x", np.float32, (1, 4, *size))
    y = padded(b, x, numbers(-1, 3, 4), np.float32(data.draw(st.sampled_from([0.0, 1.0, -np.inf]))))
    window: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    op = data.draw(st.sampled_from(["Conv", "AveragePool", "MaxPool"]))
    if op == "Conv":
        groups = data.draw(st.sampled_from([1, 4]))
        b.output(b.op(op, y, b.weight(random(4, 4 // groups, *kernel)), group=groups, **window))
    else:
        b.output(b.op(op, y, **window))
    feeds = {"x": random(1, 4, *size)}
    _, after = compiled(b, feeds)
    for found in (graph.evaluate(after, feeds), Engine(b.model().SerializeToString()).run([feeds["x"]])):
        np.testing.assert_allclose(found[0], run_peer(b.model(), feeds)[0], rtol=1e-4, atol=1e-4)
