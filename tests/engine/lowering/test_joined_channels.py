"""What is joined lies beside each other from the start, and what cannot is copied: the same numbers either way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from reference.onnx_builder import ModelBuilder, run_peer

from engine import Engine, explain


def _numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng([*shape]).standard_normal(shape).astype(np.float32)


def _conv(b: ModelBuilder, x: str, before: int, after: int, kernel: int = 1) -> str:
    """A convolution with its SiLU."""
    w, pad = b.weight(_numbers(after, before, kernel, kernel)), kernel // 2
    y = b.op("Conv", x, w, b.weight(_numbers(after)), pads=[pad] * 4)
    return b.op("Mul", y, b.op("Sigmoid", y))


def _two(b: ModelBuilder, x: str) -> None:
    one, two = _conv(b, x, 8, 12), _conv(b, x, 8, 16, 3)
    b.output(_conv(b, b.op("Concat", one, two, axis=1), 28, 9))


def _residual(b: ModelBuilder, x: str) -> None:
    one = _conv(b, x, 8, 12)
    added = b.op("Add", one, _conv(b, one, 12, 12, 3))
    joined = b.op("Concat", added, _conv(b, x, 8, 20), axis=1)
    b.output(_conv(b, joined, 32, 16, 3))


def _odd(b: ModelBuilder, x: str) -> None:
    parts = [_conv(b, x, 8, count) for count in (3, 5, 4, 7)]
    b.output(_conv(b, b.op("Concat", *parts, axis=1), 19, 6, 3))


def _dense(b: ModelBuilder, x: str) -> None:
    """Each layer reads all before it, joined anew."""
    found = [_conv(b, x, 8, 16)]
    for layer in range(3):
        joined = b.op("Concat", *found, axis=1) if len(found) > 1 else found[0]
        found.append(_conv(b, joined, 16 + 4 * layer, 4, 3))
    b.output(b.op("Concat", *found, axis=1))


def _nested(b: ModelBuilder, x: str) -> None:
    inner = b.op("Concat", _conv(b, x, 8, 8), _conv(b, x, 8, 4), axis=1)
    outer = b.op("Concat", _conv(b, inner, 12, 4), inner, inner, x, axis=1)
    b.output(_conv(b, outer, 36, 8, 3), outer)


def _pools(b: ModelBuilder, x: str) -> None:
    found = [_conv(b, x, 8, 12)]
    for _ in range(3):
        found.append(b.op("MaxPool", found[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4))
    b.output(_conv(b, b.op("Concat", *found, axis=1), 48, 16))


def _split(b: ModelBuilder, x: str) -> None:
    both = _conv(b, x, 8, 24)
    one, two = b.ops("Split", both, b.weight(np.array([8, 16], np.int64)), count=2, axis=1)
    third = _conv(b, two, 16, 16, 3)
    b.output(_conv(b, b.op("Concat", one, two, third, axis=1), 40, 8), b.op("Relu", one))


def _depthwise(b: ModelBuilder, x: str) -> None:
    w = b.weight(_numbers(8, 1, 3, 3))
    deep = b.op("Conv", x, w, group=8, pads=[1] * 4)
    b.output(_conv(b, b.op("Concat", deep, _conv(b, x, 8, 8), deep, axis=1), 24, 8))


MODELS: dict[str, Callable[[ModelBuilder, str], None]] = {
    "two": _two,
    "residual": _residual,
    "odd": _odd,
    "dense": _dense,
    "nested": _nested,
    "pools": _pools,
    "split": _split,
    "depthwise": _depthwise,
}


@pytest.mark.parametrize("image", [(1, 8, 9, 11), (2, 8, 16, 16), (3, 8, 5, 5)])
@pytest.mark.parametrize("name", MODELS)
def test_result_is_that_of_onnxruntime_for_any_number_of_cores(name: str, image: tuple[int, ...]) -> None:
    b = ModelBuilder(17)
    MODELS[name](b, b.input("x", np.float32, image))
    x, model = _numbers(*image), b.model().SerializeToString()
    want = run_peer(b.model(), {"x": x})
    found = [Engine(model, batch_size=image[0], num_cores=cores).run([x]) for cores in (1, 2)]
    for wanted, one, two in zip(want, *found, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-4, atol=2e-4)
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", ["two", "residual"])
def test_nothing_is_copied_where_every_part_has_a_place(name: str) -> None:
    b = ModelBuilder(17)
    MODELS[name](b, b.input("x", np.float32, (1, 8, 16, 16)))
    assert "concat_pixels" not in str(explain(b.model().SerializeToString()))


def _head(b: ModelBuilder, x: str) -> None:
    """Two scales of a detector: boxes and scores of each pixel and anchor, one list of all."""
    lists = []
    for size in (8, 4):
        y = b.op("Conv", x, b.weight(_numbers(3 * 7, 8, 1, 1)), b.weight(_numbers(3 * 7)))
        split = b.op("Reshape", y, b.weight(np.array([1, 3, 7, size, size], np.int64)))
        moved = b.op("Sigmoid", b.op("Transpose", split, perm=[0, 1, 3, 4, 2]))
        parts = b.ops("Split", moved, b.weight(np.array([2, 2, 3], np.int64)), count=3, axis=4)
        place = b.op("Mul", parts[0], b.weight(np.float32(2)))
        place = b.op("Add", place, b.weight(_numbers(1, 1, size, size, 2)))
        extent = b.op("Pow", b.op("Mul", parts[1], b.weight(np.float32(2))), b.weight(np.float32(2)))
        extent = b.op("Mul", extent, b.weight(_numbers(1, 3, 1, 1, 2)))
        joined = b.op("Concat", place, extent, parts[2], axis=4)
        lists.append(b.op("Reshape", joined, b.weight(np.array([1, 3 * size * size, 7], np.int64))))
        x = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    b.output(b.op("Concat", *lists, axis=1), lists[0])


def test_heads_of_detectors_give_what_onnxruntime_gives() -> None:
    b = ModelBuilder(17)
    _head(b, b.input("x", np.float32, (1, 8, 8, 8)))
    x = _numbers(1, 8, 8, 8)
    want = run_peer(b.model(), {"x": x})
    for cores in (1, 2):
        for wanted, got in zip(
            want, Engine(b.model().SerializeToString(), num_cores=cores).run([x]), strict=True
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
