"""Items of a batch are apart where no operator mixes them: found graph by graph, and true of what the graphs compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import passes
from engine.frontend import bind, open_model
from engine.graph import OPS, Array, Graph, Value, constant, evaluate, graph_input, node
from engine.passes.parts import RULES, held_bytes, items_apart
from engine.random_inputs import random_inputs

WHOLE, PART = 6, 2
F32 = np.dtype(np.float32)
EXPORTED = Path(__file__).parents[2] / "data" / "exported"
DRAWN = np.random.default_rng(3).standard_normal((4, 4)).astype(np.float32)

Make = Callable[[Value], Value]


def _op(op: str, *inputs: Value | None, **attrs: Any) -> Value:
    return node(op, *inputs, **attrs)[0]


def _const(array: Any, dtype: Any = np.float32) -> Value:
    return constant(np.asarray(array, dtype))


def _graph(make: Make, batch: int) -> Graph:
    x = graph_input("x", F32, (batch, 3, 4))
    y = make(x)
    return Graph((x,), (y,), ("y",))


def _reshape(x: Value, *shape: int) -> Value:
    """-1 stands for what is left."""
    known = -int(np.prod(shape))
    size = int(np.prod(x.shape))
    return _op("Reshape", x, shape=tuple(size // known if axis == -1 else axis for axis in shape))


def _rows(x: Value) -> Value:
    return _reshape(x, -1, 4)


def _spread(x: Value) -> Value:
    """A row for each item, as where an exporter expands a class token."""
    token = _const(np.broadcast_to(DRAWN[:1], (x.shape[0], 1, 4)))
    return _op("Concat", token, x, axis=1)


def _quantised(x: Value, axis: int) -> Value:
    size = x.shape[axis]
    scale, zero = _const(np.full(size, 0.1)), _const(np.full(size, 128), np.uint8)
    return _op("DequantizeLinear", _op("QuantizeLinear", x, scale, zero, axis=axis), scale, zero, axis=axis)


def _ids(x: Value) -> Value:
    return _op("Cast", _op("Abs", _op("Sign", x)), to=np.dtype(np.int64))


def _window(x: Value) -> Value:
    image = _reshape(x, -1, 1, 3, 4)
    weights = _const(DRAWN[:3, :3].reshape(1, 1, 3, 3))
    return _op("Conv", image, weights, pads=(1, 1, 1, 1), strides=(1, 1), dilations=(1, 1), group=1)


def _own(x: Value, places: Callable[[Array], Array]) -> Value:
    """Rows of the table [batch * 3, 4], by constants made of each item's number."""
    items = np.arange(x.shape[0]).reshape(-1, 1)
    return _op("Gather", _rows(x), _const(places(items), np.int64), axis=0)


def _own_by_tuples(x: Value, places: Callable[[Array], Array]) -> Value:
    items = np.arange(x.shape[0]).reshape(-1, 1)
    tuples = np.stack(np.broadcast_arrays(places(items), np.asarray([[2, 0]])), axis=-1)
    return _op("GatherND", x, _const(tuples, np.int64), batch_dims=0)


APART: dict[str, Make] = {
    "elementwise": lambda x: _op("Add", _op("Relu", x), _const(DRAWN[:3])),
    "a number an axis of one": lambda x: _op("Mul", x, _const(DRAWN[:1, :3].reshape(1, 3, 1))),
    "items with items": lambda x: _op("Mul", x, _op("Tanh", x)),
    "product": lambda x: _op("MatMul", x, _const(DRAWN)),
    "product from the left": lambda x: _op("MatMul", _const(DRAWN[:, :3]), x),
    "matrix by matrix": lambda x: _op("MatMul", x, _op("Transpose", x, perm=(0, 2, 1))),
    "rows of items": lambda x: _op("MatMul", _rows(x), _const(DRAWN)),
    "gemm": lambda x: _op(
        "Gemm", _rows(x), _const(DRAWN), _const(DRAWN[0]), transA=0, transB=1, alpha=1.0, beta=1.0
    ),
    "heads beside the batch": lambda x: _op("Softmax", _reshape(x, -1, 2), axis=1),
    "softmax": lambda x: _op("Softmax", x, axis=2),
    "mean of others": lambda x: _op("ReduceMean", x, axes=(1,), keepdims=0),
    "greatest": lambda x: _op("ArgMax", x, axis=1, keepdims=0, select_last_index=0),
    "norm": lambda x: _op("LayerNormalization", x, _const(DRAWN[0]), axis=2, epsilon=1e-5),
    "a row for each": _spread,
    "slice of others": lambda x: _op("Slice", x, axes=(1,), starts=(1,), ends=(3,), steps=(1,)),
    "padding of others": lambda x: _op("Pad", x, pads=(0, 1, 0, 0, 0, 2), mode="constant"),
    "running sum of others": lambda x: _op("CumSum", x, _const(1, np.int64)),
    "look-up": lambda x: _op("Gather", _const(DRAWN), _ids(x), axis=0),
    "same places of each": lambda x: _op("Gather", x, _const([2, 0], np.int64), axis=1),
    "places of its own": lambda x: _op("GatherElements", x, _ids(x), axis=1),
    "rows of its own": lambda x: _own(x, lambda item: 3 * item + [2, 0]),
    "tuples of its own": lambda x: _own_by_tuples(x, lambda item: item),
    "tile of others": lambda x: _op("Tile", x, repeats=(1, 2, 1)),
    "triangle": lambda x: _op("Trilu", x, upper=1),
    "expand": lambda x: _op("Expand", _reshape(x, -1, 3, 4, 1), shape=(x.shape[0], 3, 4, 2)),
    "scale a feature": lambda x: _quantised(x, 2),
    "image": _window,
}
TOGETHER: dict[str, Make] = {
    "mean of the batch": lambda x: _op("ReduceMean", x, axes=(0,), keepdims=1),
    "less than the mean": lambda x: _op("Sub", x, _op("ReduceMean", x, axes=(0,), keepdims=1)),
    "softmax over items": lambda x: _op("Softmax", x, axis=0),
    "running sum over items": lambda x: _op("CumSum", x, _const(0, np.int64)),
    "every item by every item": lambda x: _op(
        "MatMul", _reshape(x, -1, 12), _op("Transpose", _reshape(x, -1, 12), perm=(1, 0))
    ),
    "items as features": lambda x: _op("Transpose", x, perm=(1, 0, 2)),
    "items turned back": lambda x: _op(
        "Transpose", _op("Softmax", _op("Transpose", x, perm=(1, 0, 2)), axis=1), perm=(1, 0, 2)
    ),
    "scale of all": lambda x: _op("DynamicQuantizeLinear", x),
    "size of the batch": lambda x: _op("Mul", x, _const(1 / x.shape[0])),
    "place in the batch": lambda x: _op("Add", x, _const(np.arange(x.shape[0]).reshape(-1, 1, 1))),
    "items the other way": lambda x: _op(
        "Slice", x, axes=(0,), starts=(x.shape[0] - 1,), ends=(-1,), steps=(-1,)
    ),
    "first item for all": lambda x: _op("Gather", x, _const(np.zeros(x.shape[0]), np.int64), axis=0),
    "rows of the next": lambda x: _own(x, lambda item: 3 * ((item + 1) % x.shape[0]) + [2, 0]),
    "other rows of each": lambda x: _own(x, lambda item: 3 * item + item % 3),
    "rows beyond its own": lambda x: _own(x, lambda item: np.minimum(3 * item + 3, 3 * x.shape[0] - 1)),
    "tuples of the first": lambda x: _own_by_tuples(x, lambda item: 0 * item),
    "places of fewer rows": lambda x: _op(
        "GatherElements", _rows(x), _ids(_op("ReduceMax", x, axes=(1,), keepdims=0)), axis=1
    ),
    "places as numbers": lambda x: _op("Add", x, _const(3 * np.arange(x.shape[0]).reshape(-1, 1, 1))),
    "an item more": lambda x: _op("Pad", x, pads=(1, 0, 0, 0, 0, 0), mode="constant"),
    "batch twice": lambda x: _op("Tile", x, repeats=(2, 1, 1)),
    "other with other": lambda x: _op("Concat", x, x, axis=0),
    "items beside features": lambda x: _reshape(x, 3, 4, -1),
    "nothing of the input": lambda _x: _const(DRAWN),
}


@pytest.mark.parametrize("name", APART)
def test_what_keeps_items_apart_is_found_and_gives_the_same_in_parts(name: str) -> None:
    whole, part = (_graph(APART[name], batch) for batch in (WHOLE, PART))
    assert items_apart(whole, part)
    x = np.random.default_rng(0).standard_normal((WHOLE, 3, 4)).astype(np.float32)
    (expected,) = evaluate(whole, {"x": x})
    found = [evaluate(part, {"x": x[first : first + PART]})[0] for first in range(0, WHOLE, PART)]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", TOGETHER)
def test_what_mixes_items_or_knows_the_batch_stays_whole(name: str) -> None:
    assert not items_apart(*(_graph(TOGETHER[name], batch) for batch in (WHOLE, PART)))


@pytest.mark.parametrize("name", TOGETHER)
def test_a_part_of_one_item_is_no_excuse(name: str) -> None:
    assert not items_apart(*(_graph(TOGETHER[name], batch) for batch in (WHOLE, 1)))


def test_inputs_must_have_the_batch() -> None:
    def graph(batch: int, other: tuple[int, ...]) -> Graph:
        x, y = graph_input("x", F32, (batch, 4)), graph_input("y", F32, other)
        return Graph((x, y), (_op("Add", x, y),), ("z",))

    assert items_apart(graph(WHOLE, (WHOLE, 4)), graph(PART, (PART, 4)))
    assert not items_apart(graph(WHOLE, (4,)), graph(PART, (4,)))
    assert not items_apart(graph(WHOLE, (1, 4)), graph(PART, (1, 4)))


def test_every_rule_is_for_an_operator_with_a_meaning() -> None:
    assert RULES.keys() <= OPS.keys()
    assert not [name for name in RULES if OPS[name].elementwise]


@given(
    names=st.lists(st.sampled_from(sorted({**APART, **TOGETHER})), min_size=2, max_size=4),
    seed=st.integers(0, 99),
)
def test_chains_said_to_be_apart_are(names: list[str], seed: int) -> None:
    def chain(x: Value) -> Value:
        for name in names:
            y = {**APART, **TOGETHER}[name](x)
            x = (
                y
                if y.shape == x.shape and y.dtype == F32
                else _op("Add", x, _op("ReduceMax", x, axes=(2,), keepdims=1))
            )
        return x

    whole, part = (_graph(chain, batch) for batch in (WHOLE, PART))
    if not items_apart(whole, part):
        return
    x = np.random.default_rng(seed).standard_normal((WHOLE, 3, 4)).astype(np.float32)
    (expected,) = evaluate(whole, {"x": x})
    found = [evaluate(part, {"x": x[first : first + PART]})[0] for first in range(0, WHOLE, PART)]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-5, atol=1e-5)


def _bound(path: str, batch: int) -> Graph:
    model = open_model(path)
    sizes = {entry.name: entry.dims for entry in model.inputs}
    shapes = {
        name: (batch, *(size if isinstance(size, int) else 24 for size in dims[1:]))
        for name, dims in sizes.items()
    }
    return bind(model, shapes)


# Scales found at run time are those of the whole batch.
ONE_SCALE = (
    "bert_dynamic",
    "bert_dynamic_channels",
    "bert_dynamic_extended",
    "bert_dynamic_unsigned",
    "bert_optimised_dynamic",
)


@pytest.mark.parametrize("path", sorted(EXPORTED.glob("*.onnx")), ids=lambda path: path.stem)
def test_exported_models(path: Path) -> None:
    whole, part = (_bound(str(path), batch) for batch in (4, 2))
    apart = items_apart(whole, part)
    assert apart == (path.stem not in ONE_SCALE)
    names, dtypes = whole.input_names, [value.dtype for value in whole.inputs]
    if apart:
        drawn = random_inputs(names, dtypes, tuple(value.shape for value in whole.inputs), 0)
        # The smallest vocabulary of these files has forty words.
        arrays: list[Array] = [array % 40 if array.dtype.kind == "i" else array for array in drawn]
        expected = evaluate(whole, dict(zip(names, arrays, strict=True)))
        found = evaluate(part, {name: array[2:] for name, array in zip(names, arrays, strict=True)})
        for mine, its in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, its[its.shape[0] // 2 :], rtol=1e-4, atol=1e-4)


U8 = np.dtype(np.uint8)
HELD: dict[str, tuple[np.dtype[Any], Make, int]] = {
    "one in, one out": (F32, lambda x: _op("Tanh", x), 2 * 48),
    "the largest step counts": (F32, lambda x: _op("Add", _op("Tanh", x), x), 3 * 48),
    "one value read twice": (F32, lambda x: _op("Mul", x, x), 2 * 48),
    "constants do not count": (F32, lambda x: _op("Add", x, _const(DRAWN[:3])), 2 * 48),
    "bytes are read as they are": (
        U8,
        lambda x: _op("Relu", _op("DequantizeLinear", x, _const(0.5), _const(3, np.uint8), axis=1)),
        12 + 48,
    ),
}


@pytest.mark.parametrize(("dtype", "make", "of_an_item"), HELD.values(), ids=HELD.keys())
def test_what_the_largest_step_holds(dtype: np.dtype[Any], make: Make, of_an_item: int) -> None:
    x = graph_input("x", dtype, (WHOLE, 3, 4))
    assert held_bytes(Graph((x,), (make(x),), ("y",))) == WHOLE * of_an_item


def test_windows_are_read_where_the_pixels_lie() -> None:
    whole = passes.run(_graph(_window, WHOLE))
    assert any(found.op == "windows" for found in whole.nodes())
    assert held_bytes(whole) == WHOLE * 2 * 48


def test_a_graph_without_steps_holds_nothing() -> None:
    x = graph_input("x", F32, (WHOLE, 3))
    assert held_bytes(Graph((x,), (x,), ("y",))) == 0
