"""Movement is merged or dropped, and equal nodes are one."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from form_check import check, random
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder

from engine import graph, passes
from engine.graph.pattern import operands

X = {"x": random(2, 3, 4)}


def fed() -> tuple[ModelBuilder, str]:
    b = ModelBuilder()
    return b, b.input("x", np.float32, (2, 3, 4))


@given(perms=st.lists(st.permutations(range(3)), min_size=1, max_size=5))
def test_transposes_in_a_row_are_at_most_one(perms: list[list[int]]) -> None:
    b, y = fed()
    for perm in perms:
        y = b.op("Transpose", y, perm=list(perm))
    b.output(b.op("Neg", y))
    assert graph.census(check(b, X, exact=True, peer=False))["Transpose"] <= 1


def test_reshapes_in_a_row_are_one() -> None:
    b, x = fed()
    y = b.op("Reshape", b.op("Unsqueeze", b.op("Flatten", x, axis=1), b.ints(0)), b.ints(4, 6))
    b.output(b.op("Neg", y))
    check(b, X, {"Reshape": 1, "Neg": 1}, exact=True)


def test_reshapes_there_and_back_vanish() -> None:
    b, x = fed()
    b.output(b.op("Neg", b.op("Reshape", b.op("Reshape", x, b.ints(6, 4)), b.ints(2, 3, 4))))
    check(b, X, {"Neg": 1}, exact=True)


@pytest.mark.parametrize("index", [0, 3, -1, [2], [1, 2], [-2, -1], [0, 1, 2, 3]])
def test_features_taken_one_by_one_are_a_slice(index: int | list[int]) -> None:
    b, x = fed()
    b.output(b.op("Neg", b.op("Gather", x, b.weight(np.array(index, np.int64)), axis=-1)))
    after = check(b, X, exact=True)
    assert graph.census(after)["Gather"] == 0


@pytest.mark.parametrize(("index", "axis"), [([2, 1], -1), ([0, 2], -1), ([-1, 0], -1), ([[0]], -1), (1, 1)])
def test_other_features_and_other_axes_stay_gathered(index: int | list[int], axis: int) -> None:
    b, x = fed()
    b.output(b.op("Neg", b.op("Gather", x, b.weight(np.array(index, np.int64)), axis=axis)))
    assert graph.census(check(b, X, exact=True))["Gather"] == 1


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("is_second", [True, False])
def test_constants_that_repeat_a_row_are_the_row(op: str, is_second: bool) -> None:
    b, x = fed()
    row = b.weight(np.broadcast_to(random(4, seed=7) + 9, (2, 3, 4)).copy())
    b.output(b.op(op, *((x, row) if is_second else (row, x))))
    after = check(b, X, exact=True)
    assert [value.shape for value in operands(after.outputs[0].node) if value.array is not None] == [(4,)]


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 4), (3, 1), (1, 4), (2, 2, 3, 4)])
def test_constants_of_many_rows_or_more_axes_stay(shape: tuple[int, ...]) -> None:
    b, x = fed()
    array = random(*shape, seed=7) if shape[0] != 2 or len(shape) == 3 else np.ones(shape, np.float32)
    b.output(b.op("Add", x, b.weight(array)))
    after = check(b, X, exact=True)
    assert [value.shape for value in operands(after.outputs[0].node) if value.array is not None] == [shape]


def test_factors_of_one_vanish() -> None:
    b, x = fed()
    b.output(b.op("Neg", b.op("Div", b.op("Mul", b.number(1), x), b.weight(np.ones(1, np.float32)))))
    check(b, X, {"Neg": 1}, exact=True)


def test_factor_of_one_that_adds_an_axis_stays() -> None:
    b, x = fed()
    b.output(b.op("Mul", x, b.weight(np.ones((1, 1, 1, 1), np.float32))))
    check(b, X, {"Mul": 1}, exact=True)


def test_one_over_x_is_not_x_over_one() -> None:
    b, x = fed()
    b.output(b.op("Div", b.number(1), x))
    check(b, X, {"Div": 1}, exact=True)


def test_equal_nodes_are_one() -> None:
    b, x = fed()
    sums = [b.op("Add", b.op("Sin", x), b.number(2)) for _ in range(3)]
    b.output(b.op("Sum", *sums), b.op("Add", b.op("Sin", x), b.number(3)))
    check(b, X, {"Sin": 1, "Add": 2, "Sum": 1}, exact=True)


def test_values_of_unknown_shape_pass_through_every_rule() -> None:
    b, x = fed()
    found = b.op("Cast", b.op("Transpose", b.op("NonZero", x), perm=[1, 0]), to=1)
    y = b.op("Add", b.op("MatMul", found, b.weight(random(3, 5))), b.weight(random(5)))
    z = b.op("Relu", b.op("Add", y, b.op("Mul", y, b.number(0.5))))
    pair = b.number(0.25), b.number(9, np.uint8)
    rounded = b.op("DequantizeLinear", b.op("QuantizeLinear", z, *pair), *pair)
    b.output(
        b.op("MatMul", rounded, b.op("DequantizeLinear", b.weight(np.ones((5, 2), np.int8)), b.number(0.5)))
    )
    check(b, X, peer=False, atol=2.0)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_are_left_as_they_are(dtype: type) -> None:
    b = ModelBuilder(opset=17)
    x = b.input("x", dtype, (2, 3, 4))
    rows = b.op("LayerNormalization", x, b.weight(random(4).astype(dtype)))
    y = b.op(
        "Add", b.op("MatMul", rows, b.weight(random(4, 4).astype(dtype))), b.weight(random(4).astype(dtype))
    )
    gate = b.op("Add", b.op("Erf", b.op("Div", y, b.number(2**0.5, dtype))), b.number(1, dtype))
    b.output(b.op("Mul", b.op("Mul", y, gate), b.number(0.5, dtype)))
    after = check(b, {"x": random(2, 3, 4).astype(dtype)}, exact=True, peer=False)
    assert not {"linear", "layer_norm", "gelu"} & set(graph.census(after))


def test_model_whose_output_is_its_input_passes() -> None:
    b, x = fed()
    b.output(b.op("Identity", x), b.op("Constant", value_float=2.0))
    check(b, X, {}, exact=True)


RULE_MODULES = sorted(
    f"{family.name}.{module.name}"
    for family in pkgutil.iter_modules(passes.__path__)
    if family.ispkg
    for module in pkgutil.iter_modules([str(Path(passes.__file__).parent / family.name)])
    if not module.name.startswith("_")
)


@pytest.mark.parametrize("name", [*RULE_MODULES, "mask", "share"])
def test_every_rule_file_has_a_drawing(name: str) -> None:
    assert "=>" in (importlib.import_module(f"engine.passes.{name}").__doc__ or "")


def test_every_pass_says_why_it_stands_where_it_does() -> None:
    names = [entry.name for entry in passes.PASSES]
    assert len(set(names)) == len(names)
    assert all(entry.reason for entry in passes.PASSES)


@pytest.mark.parametrize("op", ["Neg", "Mul", "Where"])
def test_what_is_done_to_copies_is_done_once(op: str) -> None:
    b = ModelBuilder()
    m = b.input("m", np.float32, (2, 1, 3))
    wide = b.op("Expand", m, b.ints(2, 4, 3))
    others = {"Neg": (), "Mul": (b.op("Expand", m, b.ints(2, 4, 3)),), "Where": (wide, m)}[op]
    first = b.op("Cast", wide, to=onnx.TensorProto.BOOL) if op == "Where" else wide
    b.output(b.op(op, first, *others))
    after = check(b, {"m": random(2, 1, 3)}, exact=True)
    assert [node.types[0].shape for node in after.nodes() if node.op == op] == [(2, 1, 3)]
    assert graph.census(after)["Expand"] == 1


def test_copies_that_meet_their_like_are_not_made() -> None:
    b = ModelBuilder()
    m, x = b.input("m", np.float32, (2, 1, 3)), b.input("x", np.float32, (2, 4, 3))
    b.output(b.op("Sub", x, b.op("Expand", b.op("Expand", m, b.ints(2, 1, 3)), b.ints(2, 4, 3))))
    check(b, {"m": random(2, 1, 3), "x": random(2, 4, 3, seed=5)}, {"Sub": 1}, exact=True)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 3), (3,)])
def test_reductions_of_copies_are_copies_of_reductions(axes: tuple[int, ...], keepdims: int) -> None:
    b = ModelBuilder()
    m = b.input("m", np.float32, (2, 1, 3))
    wide = b.op("Expand", m, b.ints(5, 2, 4, 3))
    b.output(b.op("ReduceSum", wide, b.ints(*axes), keepdims=keepdims))
    after = check(b, {"m": random(2, 1, 3)}, exact=False)
    (found,) = [node for node in after.nodes() if node.op == "ReduceSum"]
    source = found.inputs[0]
    assert source is not None
    assert (source.shape == (2, 1, 3)) is (not {0, 2} & set(axes))


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_softmax_over_features_is_over_the_last_axis(axis: int) -> None:
    b, x = fed()
    b.output(b.op("Softmax", x, axis=axis))
    check(b, X, {"Transpose": 2, "Softmax": 1})
