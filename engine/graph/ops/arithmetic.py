"""Arithmetic on each element: one, two or many operands, broadcast as NumPy does."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import Attrs, Op, broadcast_shape, common_dtype, first_dtype, first_shape, one

MANY = 1 << 16


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(np.divide(a, b))
    quotient = np.floor_divide(a, b)
    # Integers truncate toward zero, NumPy's floor does not.
    inexact = (np.multiply(quotient, b) != a) & ((a < 0) != (b < 0))
    return np.asarray((quotient + inexact).astype(a.dtype))


def _modulo(attrs: Attrs, a: Array, b: Array) -> tuple[Array, ...]:
    return (np.asarray((np.fmod if attrs.get("fmod") else np.mod)(a, b)),)


def _power(a: Array, b: Array) -> Array:
    return np.asarray(np.power(a, b)).astype(a.dtype)


def _mean(*arrays: Array) -> Array:
    return np.asarray(reduce(np.add, arrays) / np.asarray(len(arrays), arrays[0].dtype))


UNARY: dict[str, Callable[..., Array]] = {
    "Abs": np.abs,
    "Ceil": np.ceil,
    "Cos": np.cos,
    "Exp": np.exp,
    "Floor": np.floor,
    "Log": np.log,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Round": np.rint,
    "Sign": np.sign,
    "Sin": np.sin,
    "Sqrt": np.sqrt,
}
BINARY: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Div": _divide,
    "Mul": np.multiply,
    "Sub": np.subtract,
}
VARIADIC: dict[str, Callable[..., Array]] = {
    "Max": lambda *arrays: reduce(np.maximum, arrays),
    "Mean": _mean,
    "Min": lambda *arrays: reduce(np.minimum, arrays),
    "Sum": lambda *arrays: reduce(np.add, arrays),
}

ROWS = (
    *(Op(name, one(f), first_dtype, first_shape, elementwise=True) for name, f in UNARY.items()),
    *(
        Op(name, one(f), common_dtype, broadcast_shape, (2, 2), elementwise=True)
        for name, f in BINARY.items()
    ),
    *(
        Op(name, one(f), common_dtype, broadcast_shape, (1, MANY), elementwise=True)
        for name, f in VARIADIC.items()
    ),
    Op("Mod", _modulo, common_dtype, broadcast_shape, (2, 2), elementwise=True),
    Op("Pow", one(_power), first_dtype, broadcast_shape, (2, 2), elementwise=True),
)
