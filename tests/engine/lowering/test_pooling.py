"""Windows over images, images of another size and element beside element, compared with their meaning in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_lowered_operators import check, fed, floats

from engine.graph import constant, node

Array = NDArray[Any]
SOURCE = np.random.default_rng(17)
KINDS = [np.float32, np.uint8, np.int8]


def image(dtype: Any, *shape: int) -> Array:
    if dtype is np.float32:
        return floats(*shape)
    limits = np.iinfo(dtype)
    return SOURCE.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)


def window(**attrs: Any) -> dict[str, Any]:
    count = len(attrs["kernel_shape"])
    plain = {"strides": (1,) * count, "dilations": (1,) * count, "pads": (0,) * 2 * count, "ceil_mode": 0}
    return plain | attrs


WINDOWS = [
    ((3, 3, 12, 12), window(kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))),
    ((1, 2, 40, 37), window(kernel_shape=(5, 5), pads=(2, 2, 2, 2))),
    ((2, 2, 9, 150), window(kernel_shape=(2, 3), strides=(1, 2), pads=(0, 2, 1, 0), ceil_mode=1)),
    ((1, 1, 20, 90), window(kernel_shape=(3, 2), strides=(3, 4), dilations=(2, 5))),
    ((1, 3, 7, 7), window(kernel_shape=(7, 7))),
    ((2, 3, 33), window(kernel_shape=(3,), strides=(2,), pads=(1, 0), ceil_mode=1)),
    ((1, 1, 5, 5), window(kernel_shape=(3, 3), strides=(2, 2), dilations=(2, 2), pads=(2, 2, 1, 1))),
]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize(("shape", "attrs"), WINDOWS)
def test_largest_of_windows(dtype: Any, shape: tuple[int, ...], attrs: dict[str, Any]) -> None:
    x, array = fed("x", image(dtype, *shape))
    check([node("MaxPool", x, **attrs)[0]], {x: array}, atol=0)


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize(("shape", "attrs"), WINDOWS)
def test_means_of_windows(include: int, shape: tuple[int, ...], attrs: dict[str, Any]) -> None:
    x, array = fed("x", floats(*shape))
    check([node("AveragePool", x, count_include_pad=include, **attrs)[0]], {x: array}, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_window(data: st.DataObject) -> None:
    kernel, stride, dilation = (tuple(data.draw(st.integers(1, 4)) for _ in range(2)) for _ in range(3))
    # A window of padding alone has no mean.
    pads = tuple(data.draw(st.integers(0, size - 1)) for size in (*kernel, *kernel))
    size = tuple(data.draw(st.integers((k - 1) * d + 1, 70)) for k, d in zip(kernel, dilation, strict=True))
    attrs = window(
        kernel_shape=kernel,
        strides=stride,
        dilations=dilation,
        pads=pads,
        ceil_mode=data.draw(st.integers(0, 1)),
    )
    x, array = fed("x", floats(1, 2, *size))
    check([node("MaxPool", x, **attrs)[0], node("AveragePool", x, **attrs)[0]], {x: array}, atol=1e-5)


MODES = ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["nearest", "linear"])
@pytest.mark.parametrize("size", [(18, 66), (9, 33), (27, 99), (5, 40), (1, 1), (36, 16)])
def test_images_of_another_size(mode: str, kind: str, size: tuple[int, int]) -> None:
    x, array = fed("x", floats(2, 3, 9, 33))
    scales = (1.0, 1.0, size[0] / 9, size[1] / 33)
    attrs = {"coordinate_transformation_mode": mode, "mode": kind, "nearest_mode": "round_prefer_floor"}
    check([node("Resize", x, shape=(2, 3, *size), scales=scales, **attrs)[0]], {x: array}, atol=1e-6)


def test_signals_of_another_length() -> None:
    x, array = fed("x", floats(2, 3, 17))
    attrs: dict[str, Any] = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    doubled = node("Resize", x, shape=(2, 3, 34), scales=(1.0, 1.0, 2.0), mode="nearest", **attrs)[0]
    check([doubled], {x: array}, atol=0)


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum", "ReduceMax"])
@pytest.mark.parametrize("shape", [(2, 5, 7, 7), (1, 3, 50, 41), (1, 2, 1, 1), (3, 4, 8, 16)])
def test_whole_images(op: str, shape: tuple[int, ...]) -> None:
    x, array = fed("x", floats(*shape) + np.float32(3))
    check([node(op, x, axes=(2, 3), keepdims=1)[0]], {x: array}, atol=1e-5)


def test_sums_of_numbers_that_are_not_finite() -> None:
    array = np.ones((3, 64), np.float32)
    array[0, 5], array[1, 7:9] = np.inf, (np.inf, -np.inf)
    x, fed_array = fed("x", array)
    check([node("ReduceSum", x, axes=(1,), keepdims=0)[0]], {x: fed_array})


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 33, 20), (3, 130, 70)])
def test_positions_of_activations(op: str, shape: tuple[int, ...]) -> None:
    x, array = fed("x", floats(*shape))
    weights = constant(floats(shape[2], shape[2]))
    y = node("linear", x, weights, weight_axes="km", activation="none", store=None)[0]
    check([node(op, y, axes=(1,), keepdims=1)[0]], {x: array}, atol=2e-4)


SIZES = [(1,), (3, 5), (2, 3, 17, 19), (1, 64, 64), (1, 31, 1009)]


# Operations and their numbers.
OF_ONE_TENSOR: list[tuple[str, dict[str, Any]]] = [
    *(
        (op, {})
        for op in (
            "Relu",
            "Sigmoid",
            "HardSwish",
            "Softplus",
            "Log",
            "Sqrt",
            "Mish",
            "Softsign",
            "Cos",
            "Sin",
        )
    ),
    ("Celu", {"alpha": 1.0}),
    ("Celu", {"alpha": 2.5}),
    ("Elu", {"alpha": 0.7}),
    ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    ("LeakyRelu", {"alpha": 0.01}),
    ("LeakyRelu", {"alpha": -1.5}),
    ("Selu", {"alpha": 1.6732632, "gamma": 1.0507010}),
    ("Swish", {"alpha": 1.0}),
    ("Swish", {"alpha": 1.7}),
    ("ThresholdedRelu", {"alpha": 0.3}),
]


@pytest.mark.parametrize(("op", "numbers"), OF_ONE_TENSOR)
@pytest.mark.parametrize("shape", SIZES)
def test_elements_as_they_lie(op: str, numbers: dict[str, Any], shape: tuple[int, ...]) -> None:
    array = np.abs(floats(*shape)) + np.float32(0.1) if op in ("Log", "Sqrt") else 4 * floats(*shape)
    x, fed_array = fed("x", array)
    check([node(op, x, **numbers)[0]], {x: fed_array}, atol=2e-6)


@pytest.mark.parametrize(
    ("op", "numbers"), [case for case in OF_ONE_TENSOR if case[0] not in ("Log", "Sqrt")]
)
def test_ends_of_the_numbers(op: str, numbers: dict[str, Any]) -> None:
    values = [-np.inf, -1e30, -200, -30, -1e-6, -1e-30, 0.0, 1e-30, 1e-6, 19.9, 20.1, 88, 200, 1e30, np.nan]
    x, fed_array = fed("x", np.array(values, np.float32))
    with np.errstate(all="ignore"):
        check([node(op, x, **numbers)[0]], {x: fed_array}, atol=1e-30)


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_nan_on_either_side_is_the_result(op: str) -> None:
    a, first = fed("a", np.array([np.nan, 1, np.nan, 2], np.float32))
    b, second = fed("b", np.array([1, np.nan, np.nan, 3], np.float32))
    check(
        [node(op, a, b)[0], node(op, a, constant(np.asarray(1.5, np.float32)))[0]],
        {a: first, b: second},
        atol=0,
    )


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu"])
@pytest.mark.parametrize("shape", SIZES)
def test_pairs_of_elements_as_they_lie(op: str, shape: tuple[int, ...]) -> None:
    a, first = fed("a", floats(*shape))
    b, second = fed("b", np.abs(floats(*shape)) + np.float32(0.5))
    number = constant(np.asarray(1.5, np.float32))
    results = [node(op, *pair)[0] for pair in ((a, b), (a, number), (number, b))]
    check(results, {a: first, b: second}, atol=1e-6)
