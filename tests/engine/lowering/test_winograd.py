"""Convolutions of 3 x 3 by fewer products: what onnxruntime gives, in the float32 grade, the same bits for any threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from reference.onnx_builder import ModelBuilder, run_peer

from engine import Engine

Array = np.ndarray[Any, np.dtype[np.float32]]
SAME = {"pads": [1, 1, 1, 1]}
# Image, results, attributes: tiles below, at and above a panel; images that end within a tile; strips that are not whole.
CASES: list[tuple[tuple[int, ...], int, dict[str, Any]]] = [
    ((1, 32, 8, 8), 32, SAME),
    ((1, 32, 7, 7), 18, SAME),
    ((2, 64, 7, 7), 30, SAME),
    ((3, 48, 13, 17), 41, {"pads": [0, 1, 2, 3]}),
    ((1, 40, 3, 70), 36, {}),
    ((1, 33, 56, 56), 66, SAME),
    ((2, 64, 31, 5), 65, {"pads": [2, 0, 1, 1]}),
    ((1, 256, 14, 14), 128, SAME),
    ((1, 36, 70, 3), 24, SAME),
]


# Activations that are bounds leave with the sums; others are kernels of their own.
ACTIVATIONS: dict[str, Callable[[ModelBuilder, str], str]] = {
    "clip": lambda b, x: b.op("Clip", x, b.number(0.0), b.number(6.0)),
    "none": lambda b, x: x,
    "silu": lambda b, x: b.op("Mul", x, b.op("Sigmoid", x)),
    "sigmoid": lambda b, x: b.op("Sigmoid", x),
    "tanh": lambda b, x: b.op("Tanh", x),
    "hard_swish": lambda b, x: b.op("HardSwish", x),
    "leaky_relu": lambda b, x: b.op("LeakyRelu", x, alpha=0.1),
    "swish": lambda b, x: b.op("Mul", x, b.op("Sigmoid", b.op("Mul", x, b.number(1.5)))),
}


def model_of(
    image: tuple[int, ...], results: int, weights: Array, *, block: str, **attrs: Any
) -> ModelBuilder:
    """A convolution; as a `block` with what was read added, and that activation, where shapes allow."""
    b = ModelBuilder(17)
    x = b.input("x", np.float32, image)
    y = b.op("Conv", x, b.weight(weights), b.weight(np.linspace(-1, 1, results, dtype=np.float32)), **attrs)
    if block:
        y = ACTIVATIONS[block](b, b.op("Add", y, x))
    b.output(y)
    return b


def drawn(image: tuple[int, ...], results: int) -> tuple[Array, Array]:
    source = np.random.default_rng([*image, results])
    weights = source.standard_normal((results, image[1], 3, 3)).astype(np.float32)
    return source.standard_normal(image).astype(np.float32), weights


def kernels_of(engine: Engine) -> str:
    assert engine._first is not None
    return " ".join(layer.kernel for layer in engine._first.plan.layers)


@pytest.mark.parametrize(("image", "results", "attrs"), CASES)
def test_result_is_that_of_onnxruntime(image: tuple[int, ...], results: int, attrs: dict[str, Any]) -> None:
    x, weights = drawn(image, results)
    b = model_of(image, results, weights, block="", **attrs)
    engine = Engine(b.model().SerializeToString(), batch_size=image[0], kernel="winograd_f32")
    (want,), (got,) = run_peer(b.model(), {"x": x}), engine.run([x])
    np.testing.assert_allclose(got, want, rtol=0, atol=2**-20 * 9 * image[1])
    assert "winograd_f32" in kernels_of(engine)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("image", [(1, 32, 10, 9), (2, 40, 7, 7), (1, 64, 28, 28)])
def test_residual_and_activation_are_in_the_same_step(image: tuple[int, ...], activation: str) -> None:
    x, weights = drawn(image, image[1])
    b = model_of(image, image[1], weights, block=activation, **SAME)
    engine = Engine(b.model().SerializeToString(), batch_size=image[0], kernel="winograd_f32")
    (want,), (got,) = run_peer(b.model(), {"x": x}), engine.run([x])
    np.testing.assert_allclose(got, want, rtol=0, atol=2**-20 * 9 * image[1])
    assert "winograd_f32" in kernels_of(engine)


def error_units(y: Array, x: Array, weights: Array) -> Array:
    """Errors against float64 in units of 2**-24 times the sum of magnitudes; pads of one, bias left out."""
    seen = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3)
    )
    exact = np.einsum("bcyxij,mcij->bmyx", seen.astype(np.float64), weights.astype(np.float64), optimize=True)
    size = np.einsum("bcyxij,mcij->bmyx", np.abs(seen).astype(np.float64), np.abs(weights), optimize=True)
    units: Array = np.abs(y - exact) / (2.0**-24 * size + 1e-30)
    return units


@pytest.mark.parametrize("kind", ["normal", "positive part", "three taps of ten", "far values"])
@pytest.mark.parametrize("channels", [32, 64, 256])
def test_result_keeps_the_f32_grade(channels: int, kind: str) -> None:
    image = (1, channels, 20, 18)
    x, weights = drawn(image, 30)
    if kind == "positive part":
        x = np.maximum(x, 0)
    elif kind == "three taps of ten":
        weights *= np.random.default_rng(channels).random(weights.shape) < 0.3
    elif kind == "far values":
        x[:, :, ::7, ::5] *= 1e4
    b = ModelBuilder(17)
    b.output(b.op("Conv", b.input("x", np.float32, image), b.weight(weights), **SAME))
    engine = Engine(b.model().SerializeToString(), kernel="winograd_f32")
    assert "winograd_f32" in kernels_of(engine)
    units = error_units(engine.run([x])[0], x, weights)
    assert units.max() <= 8
    assert np.sqrt(np.mean(units**2)) <= 1


def test_few_weights_are_all_multiplied() -> None:
    """With one weight of ten, sums over 32 channels missed the grade: 10 units where 8 are allowed."""
    image = (1, 32, 20, 18)
    _, weights = drawn(image, 30)
    weights *= np.random.default_rng(1).random(weights.shape) < 0.1
    content = model_of(image, 30, weights, block="", **SAME).model().SerializeToString()
    assert "winograd_f32" not in kernels_of(Engine(content, kernel="winograd_f32"))


def test_bits_are_those_of_one_thread() -> None:
    image = (2, 48, 29, 30)
    x, weights = drawn(image, 50)
    content = model_of(image, 50, weights, block="", **SAME).model().SerializeToString()
    one, two = (Engine(content, batch_size=2, num_cores=n, kernel="winograd_f32") for n in (1, 2))
    assert one.run([x])[0].tobytes() == two.run([x])[0].tobytes()


def test_a_family_of_other_operands_leaves_the_choice_as_it_is() -> None:
    image = (1, 64, 14, 14)
    _, weights = drawn(image, 64)
    content = model_of(image, 64, weights, block="", **SAME).model().SerializeToString()
    engines = Engine(content), Engine(content, kernel="dense_int8")
    assert len({kernels_of(engine) for engine in engines}) == 1


def test_a_forced_family_multiplies_all_taps() -> None:
    image = (1, 64, 14, 14)
    x, weights = drawn(image, 64)
    b = model_of(image, 64, weights, block="", **SAME)
    engine = Engine(b.model().SerializeToString(), kernel="dense_f32")
    (want,), (got,) = run_peer(b.model(), {"x": x}), engine.run([x])
    np.testing.assert_allclose(got, want, rtol=0, atol=2**-20 * 9 * 64)
    assert "winograd_f32" not in kernels_of(engine)
