"""Comparisons, logic, selection and conversion, element by element."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import (
    BOOL,
    Attrs,
    DType,
    Inputs,
    Op,
    broadcast_shape,
    first_shape,
    fixed_dtype,
    given,
    need,
    one,
)


def _is_infinite(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    found = np.isinf(x)
    if not attrs.get("detect_positive", 1):
        found &= x < 0
    if not attrs.get("detect_negative", 1):
        found &= x > 0
    return (found,)


def _where_dtype(_attrs: Attrs, inputs: Inputs) -> tuple[DType, ...]:
    a, b = given(inputs, 1).dtype, given(inputs, 2).dtype
    need(given(inputs, 0).dtype == BOOL and a == b, f"the condition must be bool and {a} equal {b}")
    return (a,)


def _cast(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (x.astype(attrs["to"]),)


COMPARISONS = {
    "And": np.logical_and,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
}

ROWS = (
    *(
        Op(name, one(f), fixed_dtype(BOOL), broadcast_shape, (2, 2), elementwise=True)
        for name, f in COMPARISONS.items()
    ),
    Op("Cast", _cast, lambda attrs, _inputs: (np.dtype(attrs["to"]),), first_shape, elementwise=True),
    Op("IsInf", _is_infinite, fixed_dtype(BOOL), first_shape, elementwise=True),
    Op("IsNaN", one(np.isnan), fixed_dtype(BOOL), first_shape, elementwise=True),
    Op("Not", one(np.logical_not), fixed_dtype(BOOL), first_shape, elementwise=True),
    Op("Where", one(np.where), _where_dtype, broadcast_shape, (3, 3), elementwise=True),
)
