"""byte_table(x): uint8 numbers replaced by entries of a table.    attrs: table (uint8 [256])."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import UINT8, Attrs, DType, Inputs, Op, first_shape, given, need


def _table(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (np.asarray(attrs["table"][x]),)


def _dtypes(attrs: Attrs, inputs: Inputs) -> tuple[DType, ...]:
    table = attrs["table"]
    need(table.dtype == UINT8 and table.shape == (256,), "a table has 256 entries of uint8")
    need(given(inputs, 0).dtype == UINT8, "a table is looked up by uint8")
    return (UINT8,)


ROWS = (Op("byte_table", _table, _dtypes, first_shape, elementwise=True, attributes=frozenset({"table"})),)
