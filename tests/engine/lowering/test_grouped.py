"""Grouped convolutions, a product for each group: what onnxruntime gives, the same bits for any number of cores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.onnx_builder import ModelBuilder, run_peer

from engine import Engine, explain
from engine.lowering.ops import _grouped
from engine.lowering.ops._grouped import blocks_of

# image, results, kernel, groups, attributes: groups of a few rows and of more than a strip; lanes that fill no panel.
CASES: list[tuple[tuple[int, ...], int, tuple[int, ...], int, dict[str, Any]]] = [
    ((1, 8, 9, 9), 16, (3, 3), 2, {"pads": [1, 1, 1, 1]}),
    ((2, 12, 16, 16), 12, (3, 3), 3, {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ((3, 24, 7, 7), 56, (3, 3), 2, {"pads": [1, 1, 1, 1]}),
    ((1, 32, 20, 20), 32, (1, 1), 4, {}),
    ((1, 32, 13, 10), 16, (1, 1), 8, {"strides": [2, 2]}),
    ((1, 10, 12, 11), 15, (3, 3), 5, {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    ((1, 6, 40), 21, (5,), 3, {"pads": [2, 2]}),
    ((1, 128, 8, 8), 128, (3, 3), 32, {"pads": [1, 1, 1, 1]}),
    ((1, 8, 10, 10), 32, (3, 3), 8, {}),
    ((2, 40, 14, 14), 120, (5, 5), 5, {"pads": [2, 2, 2, 2], "strides": [1, 2]}),
    ((1, 64, 1, 1), 64, (1, 1), 4, {}),
]


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_grouped, "CALL_NS", -1e9)


def _source(*shape: int) -> np.random.Generator:
    return np.random.default_rng([*shape])


def _engines(b: ModelBuilder, image: tuple[int, ...], groups: int) -> list[Engine]:
    model = b.model().SerializeToString()
    assert f"{groups} groups" in str(explain(model, batch_size=image[0]))
    return [Engine(model, batch_size=image[0], num_cores=cores) for cores in (1, 2)]


@pytest.mark.parametrize("after", ["", "Relu", "silu", "residual"])
@pytest.mark.parametrize(("image", "results", "kernel", "groups", "attrs"), CASES)
def test_float_result_is_that_of_onnxruntime(
    image: tuple[int, ...],
    results: int,
    kernel: tuple[int, ...],
    groups: int,
    attrs: dict[str, Any],
    after: str,
) -> None:
    source, b = _source(*image, results), ModelBuilder(17)
    shape = (results, image[1] // groups, *kernel)
    x, w = b.input("x", np.float32, image), b.weight(source.standard_normal(shape).astype(np.float32))
    bias = [b.weight(source.standard_normal(results).astype(np.float32))] if after else []
    y = b.op("Conv", x, w, *bias, group=groups, **attrs)
    if after == "Relu":
        y = b.op("Relu", y)
    elif after == "silu":
        y = b.op("Mul", y, b.op("Sigmoid", y))
    elif after == "residual":
        other = b.op(
            "Conv", x, b.weight(source.standard_normal(shape).astype(np.float32)), group=groups, **attrs
        )
        y = b.op("Relu", b.op("Add", y, b.op("Tanh", other)))
    b.output(y)
    feed = source.standard_normal(image).astype(np.float32)
    (want,), found = run_peer(b.model(), {"x": feed}), [e.run([feed])[0] for e in _engines(b, image, groups)]
    np.testing.assert_allclose(found[0], want, rtol=0, atol=2**-19 * (np.prod(shape[1:]) + 8))
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("zero", [0, 131])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(
    ("image", "results", "kernel", "groups", "attrs"),
    [case for case in CASES if case[0][1] // case[3] % 4 == case[1] // case[3] % 4 == 0],
)
def test_bytes_are_those_of_onnxruntime(
    image: tuple[int, ...],
    results: int,
    kernel: tuple[int, ...],
    groups: int,
    attrs: dict[str, Any],
    per_channel: bool,
    zero: int,
) -> None:
    source, b = _source(*image, results), ModelBuilder(17)
    kind, low, high = (np.int8, -127, 128) if zero == 0 else (np.uint8, 4, 256)
    w = source.integers(low, high, (results, image[1] // groups, *kernel)).astype(kind)
    scale = source.uniform(1e-3, 2e-3, results if per_channel else 1).astype(np.float32)
    step, x_zero, y_zero = b.weight(np.float32(0.05)), b.weight(np.uint8(131)), b.weight(np.uint8(7))
    zeros = b.weight(np.full(scale.shape, zero, kind)) if per_channel else b.weight(kind(zero))
    x = b.input("x", np.uint8, image)
    wq = [b.weight(w), b.weight(scale if per_channel else scale[0]), zeros]
    bias = b.weight(source.integers(-900, 900, results).astype(np.int32))
    y = b.op("QLinearConv", x, step, x_zero, *wq, step, y_zero, bias, group=groups, **attrs)
    b.output(y)
    feed = source.integers(0, 256, image).astype(np.uint8)
    (want,), found = run_peer(b.model(), {"x": feed}), [e.run([feed])[0] for e in _engines(b, image, groups)]
    assert np.abs(found[0].astype(int) - want).max() <= 1
    assert (found[0] != want).mean() < 1e-3
    np.testing.assert_array_equal(found[0], found[1])


def test_integer_sums_are_exact() -> None:
    image, source, b = (2, 16, 9, 9), _source(3), ModelBuilder(17)
    w = source.integers(-127, 128, (32, 4, 3, 3)).astype(np.int8)
    x, fill = b.input("x", np.uint8, image), b.weight(np.uint8(9))
    sums = b.op("ConvInteger", x, b.weight(w), fill, group=4, pads=[1, 1, 1, 1])
    b.output(b.op("Mul", b.op("Cast", sums, to=1), b.weight(np.float32(0.5))))
    feed = source.integers(0, 256, image).astype(np.uint8)
    (want,) = run_peer(b.model(), {"x": feed})
    for engine in _engines(b, image, 4):
        np.testing.assert_array_equal(engine.run([feed])[0], want)


def test_ranges_found_at_run_time_serve_all_groups() -> None:
    image, source, b = (1, 16, 9, 9), _source(4), ModelBuilder(17)
    x = b.input("x", np.float32, image)
    xq, step, zero = b.ops("DynamicQuantizeLinear", x, count=3)
    w = b.weight(source.integers(-127, 128, (32, 4, 3, 3)).astype(np.int8))
    sums = b.op("ConvInteger", xq, w, zero, group=4, pads=[1, 1, 1, 1])
    scale = b.op("Mul", step, b.weight(np.float32(0.01)))
    b.output(b.op("Mul", b.op("Cast", sums, to=1), scale))
    feed = source.standard_normal(image).astype(np.float32)
    (want,) = run_peer(b.model(), {"x": feed})
    for engine in _engines(b, image, 4):
        np.testing.assert_allclose(engine.run([feed])[0], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("m", "channels", "taps", "groups"),
    [(12, 24, 1, 6), (8, 8, 9, 8), (6, 10, 3, 2), (5, 7, 2, 1), (30, 30, 1, 15)],
)
def test_blocks_are_found(m: int, channels: int, taps: int, groups: int) -> None:
    w = np.zeros((m, taps, channels), np.float32)
    for group in range(groups):
        rows, own = (slice(group * size // groups, (group + 1) * size // groups) for size in (m, channels))
        w[rows, :, own] = 1
    assert blocks_of(w.reshape(m, -1), taps).groups == groups
    w[0, taps // 2, -1] = 1
    assert blocks_of(w.reshape(m, -1), taps).groups == 1
