"""signed(x): uint8 numbers less 128, as int8: what a step that stores bytes gives where the graph says int8."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import INT8, UINT8, Attrs, DType, Inputs, Op, first_shape, given, need


def _signed(_attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return ((x.astype(np.int16) - 128).astype(np.int8),)


def _dtypes(_attrs: Attrs, inputs: Inputs) -> tuple[DType, ...]:
    need(given(inputs, 0).dtype == UINT8, "only uint8 is signed by it")
    return (INT8,)


ROWS = (Op("signed", _signed, _dtypes, first_shape, elementwise=True, attributes=frozenset()),)
