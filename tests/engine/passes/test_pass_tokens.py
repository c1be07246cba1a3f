"""Between convolutions and the layers of a transformer nothing is moved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from form_check import check, random
from reference.onnx_builder import ModelBuilder

from engine import graph

IMAGE = (2, 6, 5, 7)
PIXELS, CHANNELS = 35, 6
Block = Callable[[ModelBuilder, str], str]


def _weight(b: ModelBuilder, *shape: int) -> str:
    return b.weight(random(*shape, seed=sum(shape)))


def _convolved(b: ModelBuilder, x: str) -> str:
    return b.op("Conv", x, _weight(b, CHANNELS, CHANNELS, 1, 1), _weight(b, CHANNELS))


def _normed(b: ModelBuilder, x: str) -> str:
    return b.op("LayerNormalization", x, _weight(b, CHANNELS), _weight(b, CHANNELS), axis=-1)


def _dense(b: ModelBuilder, x: str) -> str:
    return b.op("Add", b.op("MatMul", x, _weight(b, CHANNELS, CHANNELS)), _weight(b, CHANNELS))


def _flattened(b: ModelBuilder, x: str) -> str:
    return b.op("Transpose", b.op("Reshape", x, b.ints(0, 0, -1)), perm=[0, 2, 1])


def _unflattened(b: ModelBuilder, x: str) -> str:
    return b.op("Reshape", b.op("Transpose", x, perm=[0, 2, 1]), b.ints(*IMAGE))


def _to_last(b: ModelBuilder, x: str) -> str:
    return b.op("Transpose", x, perm=[0, 2, 3, 1])


def _to_second(b: ModelBuilder, x: str) -> str:
    return b.op("Transpose", x, perm=[0, 3, 1, 2])


def _inverted(b: ModelBuilder, x: str) -> str:
    """The block of ConvNeXt: features last inside, an image without; its factors go into the weights."""
    y = _dense(b, b.op("Relu", _dense(b, _normed(b, _to_last(b, _convolved(b, x))))))
    return b.op("Add", _to_second(b, b.op("Mul", _weight(b, CHANNELS), y)), x)


def _unfused_norm(b: ModelBuilder, x: str) -> str:
    centred = b.op("Sub", x, b.op("ReduceMean", x, axes=[-1], keepdims=1))
    variance = b.op("ReduceMean", b.op("Mul", centred, centred), axes=[-1], keepdims=1)
    deviation = b.op("Sqrt", b.op("Add", variance, b.number(1e-5)))
    return b.op(
        "Add", b.op("Mul", b.op("Div", centred, deviation), _weight(b, CHANNELS)), _weight(b, CHANNELS)
    )


# What lies between the first and the last convolution, and the operators that are left of all.
BLOCKS: dict[str, tuple[Block, dict[str, int]]] = {
    "tokens of an image": (
        lambda b, x: _unflattened(b, _normed(b, _flattened(b, x))),
        {"linear": 2, "layer_norm": 1},
    ),
    "features last": (
        lambda b, x: _to_second(b, b.op("Relu", _dense(b, _normed(b, _to_last(b, x))))),
        {"linear": 3, "layer_norm": 1},
    ),
    "flattened, then features second": (
        lambda b, x: b.op("Reshape", _to_second(b, _normed(b, _to_last(b, x))), b.ints(2, 6, 7, 5)),
        {"linear": 2, "layer_norm": 1},
    ),
    "an inverted block": (_inverted, {"linear": 5, "layer_norm": 1}),
    "two inverted blocks": (lambda b, x: _inverted(b, _inverted(b, x)), {"linear": 8, "layer_norm": 2}),
    "residuals that are tokens": (
        lambda b, x: b.op(
            "Add", *(_to_second(b, _normed(b, _to_last(b, x))) for _ in range(2))
        ),  # equal, so computed once
        {"linear": 2, "layer_norm": 1, "Add": 1},
    ),
    "a norm of single nodes": (
        lambda b, x: _to_second(b, _unfused_norm(b, _to_last(b, x))),
        {"linear": 2, "layer_norm": 1},
    ),
    "an activation on the way back": (
        lambda b, x: b.op("Sigmoid", _to_second(b, _normed(b, _to_last(b, x)))),
        {"linear": 2, "layer_norm": 1, "Sigmoid": 1},
    ),
    "a factor for each channel of the image": (
        lambda b, x: b.op("Mul", _to_second(b, _normed(b, _to_last(b, x))), _weight(b, CHANNELS, 1, 1)),
        {"linear": 2, "layer_norm": 1, "Mul": 1},
    ),
    "back and forth": (
        lambda b, x: _unflattened(b, _dense(b, _flattened(b, _unflattened(b, _normed(b, _flattened(b, x)))))),
        {"linear": 2, "layer_norm": 1},
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_nothing_moves_between_convolutions(name: str) -> None:
    block, left = BLOCKS[name]
    b = ModelBuilder(17)
    x = b.input("x", np.float32, IMAGE)
    b.output(_convolved(b, block(b, _convolved(b, x))))
    check(b, {"x": random(*IMAGE)}, {"pixels": 1, **left, "image": 1}, rtol=1e-3, atol=1e-3)


def test_signals_of_one_axis_are_tokens_too() -> None:
    b = ModelBuilder(17)
    x = b.input("x", np.float32, (2, 3, 20))
    y = b.op("Conv", x, _weight(b, CHANNELS, 3, 3), strides=[2])
    b.output(_normed(b, b.op("Transpose", y, perm=[0, 2, 1])))
    check(b, {"x": random(2, 3, 20)}, {"pixels": 1, "windows": 1, "linear": 1, "layer_norm": 1}, atol=1e-4)


# What is no order of pixels stays a movement: other axes, channels that a reshape cuts.
MOVED: dict[str, Block] = {
    "channels first of all": lambda b, x: b.op("Transpose", x, perm=[1, 2, 3, 0]),
    "rows and columns change places": lambda b, x: b.op("Transpose", x, perm=[0, 3, 2, 1]),
    "channels are cut": lambda b, x: b.op("Transpose", b.op("Reshape", x, b.ints(2, 3, -1)), perm=[0, 2, 1]),
}


@pytest.mark.parametrize("name", MOVED)
def test_other_orders_are_moved(name: str) -> None:
    b = ModelBuilder(17)
    x = b.input("x", np.float32, IMAGE)
    b.output(MOVED[name](b, _convolved(b, x)))
    assert graph.census(check(b, {"x": random(*IMAGE)}, atol=1e-4))["Transpose"] == 1


def test_an_image_of_tokens_that_others_read_is_made() -> None:
    b = ModelBuilder(17)
    x = b.input("x", np.float32, (2, PIXELS, CHANNELS))
    y = _unflattened(b, _normed(b, x))
    b.output(y, _convolved(b, y))
    check(
        b,
        {"x": random(2, PIXELS, CHANNELS)},
        {"layer_norm": 1, "Transpose": 1, "Reshape": 1, "linear": 1, "image": 1},
        atol=1e-4,
    )


@pytest.mark.parametrize("factor", [(CHANNELS,), (1, 1, CHANNELS), (1,), ()])
def test_a_factor_for_each_feature_goes_into_the_weights(factor: tuple[int, ...]) -> None:
    b = ModelBuilder(17)
    x = b.input("x", np.float32, (2, 4, CHANNELS))
    b.output(b.op("Mul", _dense(b, x), b.weight(random(*factor) + np.float32(2))))
    left = {} if CHANNELS in factor else {"Mul": 1}
    check(b, {"x": random(2, 4, CHANNELS)}, {"linear": 1, **left}, atol=1e-4)


def test_a_product_that_others_read_keeps_its_weights() -> None:
    b = ModelBuilder(17)
    x = b.input("x", np.float32, (2, 4, CHANNELS))
    y = _dense(b, x)
    b.output(y, b.op("Mul", y, _weight(b, CHANNELS)))
    check(b, {"x": random(2, 4, CHANNELS)}, {"linear": 1, "Mul": 1}, atol=1e-4)
