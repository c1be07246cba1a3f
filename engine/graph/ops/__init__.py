"""The operator table: what every operator of a graph means, in NumPy, and which types it gives.

Rows stand in the modules beside this one, by family. Lowering and the passes never repeat what a row says.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from engine.graph.collect import collect
from engine.graph.ir import Node, TensorType, Value
from engine.graph.ops._row import Op

if TYPE_CHECKING:
    from engine.graph.ops._row import Attrs, Inputs

__all__ = ["OPS", "Op", "infer", "node"]

OPS: dict[str, Op] = {row.name: row for row in collect(sys.modules[__name__], "ROWS", Op)}


def infer(op: str, attrs: Attrs, inputs: Inputs) -> tuple[TensorType, ...]:
    """Output types of operator `op`; shapes are None where an input's shape depends on data.

    Raises ValueError, saying what does not fit, and KeyError for an operator that has no row.
    """
    row = OPS[op]
    low, high = row.arity
    if not low <= len(inputs) <= high:
        message = f"{op} takes {low} to {high} inputs; got {len(inputs)}"
        raise ValueError(message)
    dtypes = row.dtypes(attrs, inputs)
    if any(value is not None and value.type.shape is None for value in inputs):
        return tuple(TensorType(dtype, None) for dtype in dtypes)
    shapes = row.shapes(attrs, inputs)
    return tuple(TensorType(dtype, shape) for dtype, shape in zip(dtypes, shapes, strict=True))


def node(op: str, *inputs: Value | None, name: str = "", **attrs: Any) -> Node:
    """A node of operator `op` with its types filled in; absent inputs at the end are dropped.

    Raises ValueError where inputs and attributes do not fit the operator.
    """
    kept = list(inputs)
    while kept and kept[-1] is None:
        kept.pop()
    return Node(op, tuple(kept), infer(op, attrs, kept), attrs, name)
