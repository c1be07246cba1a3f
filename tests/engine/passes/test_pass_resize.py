"""Images grow after they were multiplied, on pixels; products in a row are one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from form_check import check, node_of, random
from reference.onnx_builder import ModelBuilder

from engine.graph import census, show

SMALL, LARGE = (3, 4), (12, 16)
CHANNELS = 80


def _weight(b: ModelBuilder, *shape: int) -> str:
    return b.weight(random(*shape, seed=sum(shape)) / np.float32(np.sqrt(shape[-1])))


def _convolved(b: ModelBuilder, x: str, before: int, after: int) -> str:
    return b.op("Conv", x, _weight(b, after, before, 1, 1), _weight(b, after))


def _resized(b: ModelBuilder, x: str, size: tuple[int, int], mode: str = "linear") -> str:
    sizes = b.weight(np.array([2, CHANNELS, *size], np.int64))
    return b.op("Resize", x, "", "", sizes, mode=mode, coordinate_transformation_mode="half_pixel")


def _tokens(b: ModelBuilder, x: str, features: int) -> str:
    """A layer of tokens [2, 12, features], made an image of the small size."""
    y = b.op("Add", b.op("MatMul", x, _weight(b, features, CHANNELS)), _weight(b, CHANNELS))
    return b.op("Reshape", b.op("Transpose", y, perm=[0, 2, 1]), b.ints(2, CHANNELS, *SMALL))


def _small(b: ModelBuilder) -> str:
    return b.input("small", np.float32, (2, 9, *SMALL))


def _large(b: ModelBuilder) -> str:
    return b.input("large", np.float32, (2, 9, *LARGE))


def _grown(b: ModelBuilder, mode: str) -> str:
    y = b.op("Relu", _convolved(b, _small(b), 9, CHANNELS))
    return _convolved(b, _resized(b, y, LARGE, mode), CHANNELS, 70)


def _joined(b: ModelBuilder, activation: str | None) -> str:
    small, large = _convolved(b, _small(b), 9, CHANNELS), _convolved(b, _large(b), 9, CHANNELS)
    if activation is not None:
        small, large = b.op(activation, small), b.op(activation, large)
    joined = b.op("Concat", large, _resized(b, small, LARGE), large, axis=1)
    return b.op("Relu", _convolved(b, joined, 3 * CHANNELS, 70))


def _head(b: ModelBuilder) -> str:
    """Tokens of one size and pixels of another, as decoders for segmentation join them."""
    tokens = _tokens(b, b.input("small", np.float32, (2, 12, 9)), 9)
    large = _resized(b, _convolved(b, _large(b), 9, CHANNELS), LARGE)
    joined = b.op("Concat", _resized(b, tokens, LARGE), large, axis=1)
    return b.op("Relu", _convolved(b, joined, 2 * CHANNELS, 70))


def _shared(b: ModelBuilder) -> str:
    """What is resized is read by two products: each is multiplied before."""
    y = _resized(b, b.op("Relu", _convolved(b, _small(b), 9, CHANNELS)), LARGE)
    return b.op("Mul", _convolved(b, y, CHANNELS, 70), b.op("Sigmoid", _convolved(b, y, CHANNELS, 70)))


def _shrunk(b: ModelBuilder) -> str:
    """Fewer pixels are multiplied behind it."""
    return _convolved(
        b, _resized(b, b.op("Relu", _convolved(b, _large(b), 9, CHANNELS)), SMALL), CHANNELS, 70
    )


def _low_rank(b: ModelBuilder) -> str:
    return _convolved(b, _convolved(b, _large(b), 9, 2), 2, 70)


def _two_rows(b: ModelBuilder) -> str:
    y = b.op("Conv", _large(b), _weight(b, CHANNELS, 9, 1, 1), _weight(b, CHANNELS))
    return b.op("Add", y, _weight(b, CHANNELS, 1, 1))


# Models, and the operators that are left; those of `pixels` and `image` at both ends not counted.
MODELS: dict[str, tuple[Callable[[ModelBuilder], str], dict[str, int]]] = {
    "multiplied before it grows": (lambda b: _grown(b, "linear"), {"linear": 2, "resize_pixels": 1}),
    "of nearest pixels": (lambda b: _grown(b, "nearest"), {"linear": 2, "resize_pixels": 1}),
    "one part of three grows": (
        lambda b: _joined(b, "Relu"),
        {"linear": 4, "concat_pixels": 1, "resize_pixels": 1},
    ),
    "a head of tokens and pixels": (_head, {"linear": 2, "resize_pixels": 1}),
    "read twice": (_shared, {"linear": 3, "resize_pixels": 2, "Sigmoid": 1, "Mul": 1}),
    "shrinks": (_shrunk, {"linear": 2, "resize_pixels": 1}),
    "a low rank": (_low_rank, {"linear": 2}),
    "two rows added": (_two_rows, {"linear": 1}),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_left(name: str) -> None:
    block, left = MODELS[name]
    b = ModelBuilder(17)
    b.output(block(b))
    found = check(b, _fed(b), None, rtol=1e-3, atol=1e-4)
    count = {op: number for op, number in census(found).items() if op not in ("image", "pixels")}
    assert count == left, show(found)


def _fed(b: ModelBuilder) -> dict[str, np.ndarray]:
    shapes = {"small": (2, 12, 9), "large": (2, 9, *LARGE)}
    names = {value.name: value for value in b.model().graph.input}
    return {
        name: random(*(dimension.dim_value for dimension in value.type.tensor_type.shape.dim))
        for name, value in names.items()
        if name in shapes
    }


def test_what_grows_is_multiplied_where_it_is_small() -> None:
    b = ModelBuilder(17)
    b.output(_grown(b, "linear"))
    after = check(b, _fed(b), rtol=1e-3, atol=1e-4)
    grown = node_of(after, "resize_pixels")
    assert grown[0].shape == (2, 192, 70)
    assert grown.inputs[0] is not None
    assert grown.inputs[0].op == "linear"
