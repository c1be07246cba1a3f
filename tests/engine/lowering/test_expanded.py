"""A product that only a depthwise convolution reads is a part of its step, with the bits of two steps."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from reference.onnx_builder import ModelBuilder, run_peer
from test_depthwise import CASES

from engine import Engine, explain
from engine.lowering.ops import _expanded

LOWER = import_module("engine.lowering.lower")
# After the product, and after the depthwise convolution.
EPILOGUES = [("Relu", "Relu"), ("", ""), ("silu", "Add"), ("HardSwish", "silu")]


@pytest.fixture(autouse=True)
def _few_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_expanded, "_TILES_EACH", 0.5)


def _model(
    image: tuple[int, ...],
    kernel: tuple[int, int],
    attrs: dict[str, Any],
    after: tuple[str, str],
    *,
    twice: bool,
) -> tuple[ModelBuilder, dict[str, np.ndarray]]:
    """A 1 x 1 and a depthwise convolution of 29 channels; `twice`: another node reads what is between."""
    source, b = np.random.default_rng([*image, *kernel]), ModelBuilder(17)
    numbers = source.standard_normal

    def activated(x: str, op: str) -> str:
        return b.op("Mul", x, b.op("Sigmoid", x)) if op == "silu" else b.op(op, x) if op else x

    x = b.input("x", np.float32, image)
    first = b.weight(numbers((29, image[1], 1, 1)).astype(np.float32))
    bias = [b.weight(numbers(29).astype(np.float32))] if after[0] else []
    between = activated(b.op("Conv", x, first, *bias), after[0])
    weights = b.weight(numbers((29, 1, *kernel)).astype(np.float32))
    y = b.op("Conv", between, weights, b.weight(numbers(29).astype(np.float32)), group=29, **attrs)
    feeds = {"x": numbers(image).astype(np.float32)}
    y = b.op("Add", y, b.op("Tanh", y)) if after[1] == "Add" else activated(y, after[1])
    b.output(y, *([between] if twice else []))
    return b, feeds


@pytest.mark.parametrize("after", EPILOGUES)
@pytest.mark.parametrize(("image", "kernel", "attrs"), CASES)
def test_result_is_that_of_onnxruntime_and_of_two_steps(
    image: tuple[int, ...],
    kernel: tuple[int, int],
    attrs: dict[str, Any],
    after: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    b, feeds = _model(image, kernel, attrs, after, twice=False)
    model, batch = b.model().SerializeToString(), image[0]
    steps = str(explain(model, batch_size=batch, num_cores=1))
    found = [Engine(model, batch_size=batch, num_cores=cores).run([feeds["x"]])[0] for cores in (1, 2)]
    (want,) = run_peer(b.model(), feeds)
    np.testing.assert_allclose(found[0], want, rtol=1e-4, atol=3e-4)
    monkeypatch.setattr(LOWER, "private_products", lambda _graph: set())
    two_steps = str(explain(model, batch_size=batch, num_cores=1))
    assert ("depthwise_expanded" in steps) == ("depthwise_flat" in two_steps)
    found.append(Engine(model, batch_size=batch, num_cores=1).run([feeds["x"]])[0])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_what_others_read_too_is_a_step_of_its_own() -> None:
    b, feeds = _model((1, 6, 14, 14), (3, 3), {"pads": [1, 1, 1, 1]}, ("Relu", ""), twice=True)
    model = b.model().SerializeToString()
    assert "depthwise_expanded" not in str(explain(model))
    for got, want in zip(Engine(model).run([feeds["x"]]), run_peer(b.model(), feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=3e-4)
