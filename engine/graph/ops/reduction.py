"""Reductions along axes. `axes` is a tuple counted from the front, `keepdims` 0 or 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy

from engine.graph.ir import Array
from engine.graph.ops._row import (
    INT64,
    Attrs,
    Inputs,
    Op,
    Shape,
    first_dtype,
    fixed_dtype,
    given,
    need,
)

Reduce = Callable[[Array, tuple[int, ...], bool], Array]


def _reduced_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape, axes = given(inputs, 0).shape, attrs["axes"]
    if attrs["keepdims"]:
        return (tuple(1 if axis in axes else size for axis, size in enumerate(shape)),)
    return (tuple(size for axis, size in enumerate(shape) if axis not in axes),)


def _arg_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    return _reduced_shape({"axes": (attrs["axis"],), "keepdims": attrs["keepdims"]}, inputs)


def _reduction(name: str, function: Reduce) -> Op:
    def evaluate(attrs: Attrs, x: Array) -> tuple[Array, ...]:
        return (np.asarray(function(x, attrs["axes"], bool(attrs["keepdims"]))).astype(x.dtype),)

    return Op(name, evaluate, first_dtype, _reduced_shape)


def _extreme(name: str, find: Callable[..., Array]) -> Op:
    def evaluate(attrs: Attrs, x: Array) -> tuple[Array, ...]:
        axis = attrs["axis"]
        if attrs.get("select_last_index"):
            y = x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis, keepdims=bool(attrs["keepdims"]))
        else:
            y = find(x, axis=axis, keepdims=bool(attrs["keepdims"]))
        return (np.asarray(y, np.int64),)

    return Op(name, evaluate, fixed_dtype(INT64), _arg_shape)


def _cumulative_shape(_attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape, axis = given(inputs, 0).shape, given(inputs, 1).array
    rank = len(shape)
    need(
        axis is None or (axis.size == 1 and -rank <= axis.item() < rank),
        f"the axis is outside of rank {rank}",
    )
    return (shape,)


def _cumulative_sum(attrs: Attrs, x: Array, axis: Array) -> tuple[Array, ...]:
    along = int(axis)
    source = np.flip(x, along) if attrs.get("reverse") else x
    sums = np.cumsum(source, axis=along, dtype=x.dtype)
    if attrs.get("exclusive"):
        sums = sums - source
    return (np.flip(sums, along) if attrs.get("reverse") else sums,)


REDUCTIONS: dict[str, Reduce] = {
    "ReduceL1": lambda x, axes, keep: np.sum(np.abs(x), axis=axes, keepdims=keep),
    "ReduceL2": lambda x, axes, keep: np.sqrt(np.sum(x * x, axis=axes, keepdims=keep)),
    "ReduceLogSum": lambda x, axes, keep: np.log(np.sum(x, axis=axes, keepdims=keep)),
    "ReduceLogSumExp": lambda x, axes, keep: np.asarray(scipy.special.logsumexp(x, axis=axes, keepdims=keep)),
    "ReduceMax": lambda x, axes, keep: np.max(x, axis=axes, keepdims=keep),
    "ReduceMean": lambda x, axes, keep: np.mean(x, axis=axes, keepdims=keep),
    "ReduceMin": lambda x, axes, keep: np.min(x, axis=axes, keepdims=keep),
    "ReduceProd": lambda x, axes, keep: np.prod(x, axis=axes, keepdims=keep),
    "ReduceSum": lambda x, axes, keep: np.sum(x, axis=axes, keepdims=keep),
    "ReduceSumSquare": lambda x, axes, keep: np.sum(x * x, axis=axes, keepdims=keep),
}

ROWS = (
    *(_reduction(name, function) for name, function in REDUCTIONS.items()),
    _extreme("ArgMax", np.argmax),
    _extreme("ArgMin", np.argmin),
    Op("CumSum", _cumulative_sum, first_dtype, _cumulative_shape, (2, 2)),
)
