"""What a row of the operator table is, and the type rules that many rows share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.graph.ir import Array, Value

Attrs = Mapping[str, Any]
Inputs = Sequence[Value | None]
Shape = tuple[int, ...]
DType = np.dtype[Any]
Evaluate = Callable[..., tuple[Array, ...]]
DTypes = Callable[[Attrs, Inputs], tuple[DType, ...]]
Shapes = Callable[[Attrs, Inputs], tuple[Shape | None, ...]]

FLOAT32 = np.dtype(np.float32)
INT64 = np.dtype(np.int64)
INT32 = np.dtype(np.int32)
UINT8 = np.dtype(np.uint8)
INT8 = np.dtype(np.int8)
BOOL = np.dtype(np.bool_)


@dataclass(frozen=True)
class Op:
    """One operator: its meaning and its type rule.

    evaluate     (attrs, *arrays) -> arrays; an absent optional input is None; the slow, plain definition
    dtypes       (attrs, inputs) -> one dtype per output; raises ValueError where the inputs do not fit
    shapes       (attrs, inputs) -> one shape per output; asked only when every input's shape is known
    arity        fewest and most inputs
    attributes   names of the attributes, for operators that must have exactly these; None where not checked
    optional     names of attributes that may be there besides
    elementwise  each element of the one output depends on the broadcast elements of the inputs alone
    """

    name: str
    evaluate: Evaluate
    dtypes: DTypes
    shapes: Shapes
    arity: tuple[int, int] = (1, 1)
    elementwise: bool = False
    attributes: frozenset[str] | None = None
    optional: frozenset[str] = frozenset()


def need(condition: bool, message: str) -> None:
    """Raise ValueError(message) unless `condition`: how type rules refuse inputs."""
    if not condition:
        raise ValueError(message)


def given(inputs: Inputs, index: int) -> Value:
    """Input `index`. Raises ValueError when it is absent."""
    value = inputs[index] if index < len(inputs) else None
    if value is None:
        message = f"input {index} is absent"
        raise ValueError(message)
    return value


def present(inputs: Inputs) -> list[Value]:
    """The inputs that are there."""
    return [value for value in inputs if value is not None]


def first_dtype(_attrs: Attrs, inputs: Inputs) -> tuple[DType, ...]:
    """The dtype of input 0."""
    return (given(inputs, 0).dtype,)


def common_dtype(_attrs: Attrs, inputs: Inputs) -> tuple[DType, ...]:
    """The one dtype that all inputs have."""
    dtypes = {value.dtype for value in present(inputs)}
    need(len(dtypes) == 1, f"inputs have different dtypes: {', '.join(sorted(map(str, dtypes)))}")
    return (dtypes.pop(),)


def fixed_dtype(*dtypes: DType) -> DTypes:
    """The given dtypes, whatever goes in."""
    return lambda _attrs, _inputs: dtypes


def first_shape(_attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    """The shape of input 0."""
    return (given(inputs, 0).shape,)


def broadcast_shape(_attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    """NumPy's broadcast of all input shapes."""
    return (np.broadcast_shapes(*(value.shape for value in present(inputs))),)


def one(function: Callable[..., Array]) -> Evaluate:
    """An elementwise function of arrays as a meaning that has no attributes."""
    return lambda _attrs, *arrays: (function(*arrays),)
