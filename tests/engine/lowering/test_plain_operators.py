"""Steps on tensors as ONNX lays them out, and quantisation at run time, compared with their meaning in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_lowered_operators import check, compiled, fed, floats

from engine.errors import InputError
from engine.graph import Value, constant, evaluate, node
from engine.runtime.runner import run_plan
from engine.runtime.teams import team_of

Array = NDArray[Any]
SOURCE = np.random.default_rng(11)
DTYPES = [np.float32, np.int64, np.int32, np.uint8, np.bool_]


def numbers(*shape: int, dtype: Any = np.float32) -> Array:
    return SOURCE.integers(0, 2 if dtype is np.bool_ else 100, shape).astype(dtype)


def quantised(x: Value) -> list[Value]:
    """The numbers, their scale and their zero point."""
    step = node("DynamicQuantizeLinear", x)
    return [step[index] for index in range(3)]


def moved(op: str, array: Array, *others: Value, **attrs: Any) -> None:
    x, fed_array = fed("x", array)
    check([node(op, x, *others, **attrs)[0]], {x: fed_array})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("perm", [(0, 2, 1, 3), (3, 1, 0, 2), (0, 1, 3, 2), (0, 1, 2, 3)])
def test_transpose(dtype: Any, perm: tuple[int, ...]) -> None:
    moved("Transpose", numbers(2, 3, 5, 17, dtype=dtype), perm=perm)


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_any_transpose_and_slice(shape: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = numbers(*shape)
    moved("Transpose", array, perm=tuple(int(axis) for axis in rng.permutation(len(shape))))
    axes = tuple(range(len(shape)))
    backwards = [bool(rng.integers(2)) for _ in axes]
    starts = tuple(
        size - 1 if back else int(rng.integers(size)) for size, back in zip(shape, backwards, strict=True)
    )
    ends = tuple(-1 if back else size for size, back in zip(shape, backwards, strict=True))
    steps = tuple(-int(rng.integers(1, 3)) if back else int(rng.integers(1, 3)) for back in backwards)
    moved("Slice", array, axes=axes, starts=starts, ends=ends, steps=steps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slices_expansions_and_paddings(dtype: Any) -> None:
    array = numbers(2, 1, 6, dtype=dtype)
    moved("Slice", array, axes=(0, 2), starts=(1, 4), ends=(2, -1), steps=(1, -2))
    moved("Expand", array, shape=(4, 2, 3, 6))
    fill = constant(np.asarray(1, dtype))
    moved("Pad", array, fill, pads=(0, 1, 2, 0, 0, 1), mode="constant")
    moved("Pad", array, pads=(1, 0, 0, 0, 2, 0), mode="constant")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_concat(axis: int) -> None:
    shapes = [[2, 3, 4] for _ in range(3)]
    for extra, shape in enumerate(shapes):
        shape[axis] += extra
    parts = [fed(f"x{i}", floats(*shape)) for i, shape in enumerate(shapes)]
    check([node("Concat", *(value for value, _ in parts), axis=axis)[0]], dict(parts))


@pytest.mark.parametrize("kind", [np.int64, np.int32])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gathers(kind: Any, dtype: Any, axis: int) -> None:
    array = numbers(3, 3, 5, dtype=dtype)
    ids, places = fed("ids", SOURCE.integers(-3, 3, (2, 2)).astype(kind))
    x, fed_array = fed("x", array)
    check([node("Gather", x, ids, axis=axis)[0]], {x: fed_array, ids: places})
    each, own = fed("each", SOURCE.integers(-3, 3, (2, 3, 5)).astype(kind))
    check([node("GatherElements", x, each, axis=axis)[0]], {x: fed_array, each: own})
    several, tuples = fed("several", SOURCE.integers(-3, 3, (3, 4, 2)).astype(kind))
    check([node("GatherND", x, several, batch_dims=0)[0]], {x: fed_array, several: tuples})
    one, single = fed("one", SOURCE.integers(-3, 3, (3, 4, 1)).astype(kind))
    check([node("GatherND", x, one, batch_dims=1)[0]], {x: fed_array, one: single})


@pytest.mark.parametrize("op", ["Gather", "GatherElements", "GatherND"])
@pytest.mark.parametrize("bad", [3, -4, 2**40])
def test_an_index_out_of_range_is_an_error(op: str, bad: int) -> None:
    x, array = fed("x", floats(3, 4))
    ids, places = fed("ids", np.full((1, 1), bad, np.int64))
    attrs: dict[str, Any] = {"batch_dims": 0} if op == "GatherND" else {"axis": 0}
    _, plan = compiled([node(op, x, ids, **attrs)[0]], [x, ids])
    with pytest.raises(InputError):
        run_plan(plan, team_of(2), [array, places])


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int32])
@pytest.mark.parametrize(
    "attrs", [{}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}], ids=str
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_running_sums(dtype: Any, attrs: dict[str, int], axis: int) -> None:
    moved("CumSum", numbers(2, 3, 7, dtype=dtype), constant(np.asarray(axis, np.int64)), **attrs)


@pytest.mark.parametrize(
    "op", ["ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare"]
)
@pytest.mark.parametrize("axes", [(0,), (2,), (0, 2), (1, 2), (0, 1, 2), ()])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(op: str, axes: tuple[int, ...], keepdims: int) -> None:
    moved(op, floats(3, 4, 9), axes=axes, keepdims=keepdims)
    if op in ("ReduceMax", "ReduceMin", "ReduceSum"):
        moved(op, numbers(3, 4, 9, dtype=np.int64), axes=axes, keepdims=keepdims)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 70)),
        ((2, 1, 3, 8), (5, 8, 17)),
        ((6, 1, 1), (1, 130)),
        ((1, 2, 9), (3, 9, 64)),
    ],
    ids=str,
)
def test_products_of_activations(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    left, right = fed("a", floats(*a)), fed("b", floats(*b))
    check([node("MatMul", left[0], right[0])[0]], dict([left, right]))
    bytes_left = fed("a", SOURCE.integers(0, 256, a).astype(np.uint8))
    bytes_right = fed("b", SOURCE.integers(-128, 128, b).astype(np.int8))
    zeros = [constant(np.asarray(7, np.uint8)), constant(SOURCE.integers(-5, 5, b[-1:]).astype(np.int8))]
    for given_zeros in ([], zeros[:1], zeros):
        y = node("MatMulInteger", bytes_left[0], bytes_right[0], *given_zeros)[0]
        check([y], dict([bytes_left, bytes_right]))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max", "Min", "Equal", "Less", "Greater"])
def test_arithmetic_of_int32(op: str) -> None:
    a, b = fed("a", numbers(3, 4, dtype=np.int32)), fed("b", numbers(4, dtype=np.int32))
    check([node(op, a[0], b[0])[0]], dict([a, b]))


def test_powers_and_tests_for_nan() -> None:
    x, array = fed("x", np.array([[1.5, 2.0, np.nan], [0.0, 4.0, np.inf]], np.float32))
    check([node("Pow", x, constant(np.asarray(2, np.float32)))[0], node("IsNaN", x)[0]], {x: array})


SHAPES = [(1, 1, 1), (1, 17, 5), (3, 16, 20), (2, 33, 64), (5, 130, 7), (4, 9), (70, 3), (2, 2, 3, 8)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_quantisation_by_the_range_of_the_numbers(shape: tuple[int, ...], shift: float) -> None:
    x, array = fed("x", floats(*shape) + np.float32(shift))
    check(quantised(x), {x: array}, atol=1e-7)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 3), np.float32), np.full((2, 3), -4, np.float32)], ids=["zeros", "equal"]
)
def test_quantisation_of_numbers_without_a_range(array: Array) -> None:
    x, fed_array = fed("x", array)
    check(quantised(x), {x: fed_array})


def test_padding_lanes_do_not_widen_the_range() -> None:
    """A product of few positions leaves numbers of its own in lanes that nobody reads."""
    x, array = fed("x", floats(3, 5, 8, scale=0.01))
    bias = constant(np.full(6, -50, np.float32))
    grown = node("linear", x, constant(floats(8, 6)), bias, weight_axes="km", activation="relu", store=None)[
        0
    ]
    summed = node("Add", grown, constant(np.float32(0.001) * floats(6)))[0]
    check(quantised(summed), {x: array}, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "zero"), [(np.int8, 0), (np.uint8, 128)])
@pytest.mark.parametrize("channels", [False, True])
def test_product_of_numbers_quantised_by_their_range(
    shape: tuple[int, ...], dtype: Any, zero: int, channels: bool
) -> None:
    x, array = fed("x", floats(*shape))
    xq, scale, zero_point = quantised(x)
    limits = np.iinfo(dtype)
    w = SOURCE.integers(limits.min, limits.max, (shape[-1], 13), endpoint=True).astype(dtype)
    own = constant(np.abs(floats(13 if channels else 1)) * np.float32(0.01))
    attrs: dict[str, Any] = {"weight_axes": "km", "weight_zero": zero, "activation": "gelu", "store": None}
    residual, addend = fed("r", floats(*shape[:-1], 13))
    operands = (xq, scale, zero_point, constant(w), own, constant(floats(13)), residual)
    y = node("dynamic_quantized_linear", *operands, **attrs)[0]
    graph, plan = compiled([y], [x, residual])
    assert all(layer.kernel != "host" for layer in plan.layers)
    got = run_plan(plan, team_of(2), [array, addend])[0]
    np.testing.assert_allclose(got, evaluate(graph, {"x": array, "r": addend})[0], atol=1e-5, rtol=1e-5)


def test_bytes_dequantised_for_their_own_sake() -> None:
    x, array = fed("x", floats(3, 17, 10))
    xq = node("quantize", x, scale=np.float32(0.05), zero_point=117)[0]
    parameters = (constant(np.asarray(0.07, np.float32)), constant(np.asarray(101, np.uint8)))
    check([node("DequantizeLinear", xq, *parameters, axis=0)[0]], {x: array})
