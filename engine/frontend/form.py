"""What a canonical form is: one operator call of the file, and the graph values that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.errors import ModelError
from engine.frontend.model import Operation
from engine.graph import Array, Node, Value, constant, evaluate_node, infer

Values = tuple[Value, ...]

# A table of this many numbers is looked up at run time, not copied out while binding.
TABLE_ELEMENTS = 4096
BYTES = (np.dtype(np.int8), np.dtype(np.uint8))
# What folding may write: more stays a node, and is made at run time.
FOLDED_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class Call:
    """One operation with its inputs found."""

    operation: Operation
    inputs: tuple[Value | None, ...]

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes, complete."""
        return dict(self.operation.attrs)

    def input(self, index: int) -> Value:
        """Input `index`. Raises ModelError when it is absent."""
        value = self.optional(index)
        if value is None:
            where = f'node "{self.operation.name}" ({self.operation.op})'
            message = f"{where} lacks input {index}; export the model again."
            raise ModelError(message)
        return value

    def optional(self, index: int) -> Value | None:
        """Input `index`, or None when it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def parameter(self, name: str, index: int) -> tuple[int, ...] | None:
        """Integers that older versions keep in attribute `name`, newer ones in input `index`; None if absent.

        Raises NotStaticError when the input depends on data.
        """
        if name in self.operation.attrs:
            found = self.operation.attrs[name]
            return tuple(found) if isinstance(found, tuple) else (int(found),)
        value = self.optional(index)
        if value is None:
            return None
        return tuple(int(number) for number in static(value).reshape(-1))

    def emit(self, op: str, *inputs: Value | None, **attrs: Any) -> Value:
        """A node of one output for this operation, folded if it can be."""
        return self.emit_all(op, *inputs, **attrs)[0]

    def emit_all(self, op: str, *inputs: Value | None, **attrs: Any) -> Values:
        """The outputs of a node for this operation, folded if they can be."""
        kept = list(inputs)
        while kept and kept[-1] is None:
            kept.pop()
        node = Node(op, tuple(kept), infer(op, attrs, kept), attrs, self.operation.name)
        return fold(node)

    def constant(self, array: Array) -> Value:
        """A constant named after this operation."""
        return constant(array, self.operation.name)


@dataclass(frozen=True)
class Form:
    """How operators become graph values. `translate` answers None for a case it leaves to the reference."""

    names: tuple[str, ...]
    translate: Callable[[Call], Values | None]
    domain: str = ""


class NotStaticError(Exception):
    """A parameter that decides a shape depends on data: the operation is left to the reference."""


def from_front(axis: int, rank: int) -> int:
    """`axis` counted from the front; a scalar counts as one element. Raises ValueError where there is none such."""
    rank = max(rank, 1)
    if not -rank <= axis < rank:
        message = f"axis {axis} is outside of rank {rank}"
        raise ValueError(message)
    return axis % rank


def need_numbers(name: str, numbers: Sequence[float], count: int) -> None:
    """Raise ValueError unless there are `count` numbers of this name."""
    if len(numbers) != count:
        message = f"{name} of {list(numbers)} should be {count} numbers"
        raise ValueError(message)


def static(value: Value) -> Array:
    """The array of a constant. Raises NotStaticError for any other value."""
    if value.array is None:
        raise NotStaticError
    return value.array


def fold(node: Node) -> Values:
    """The node's outputs: constants where all that goes in is constant and should not stay as it is."""
    outputs = tuple(node[index] for index in range(len(node.types)))
    arrays = [None if value is None else value.array for value in node.inputs]
    if any(value is not None and array is None for value, array in zip(node.inputs, arrays, strict=True)):
        return outputs
    if _stays(node):
        return outputs
    results = evaluate_node(node, arrays)
    # Transposed views would make every later packing walk strided memory.
    return tuple(constant(np.ascontiguousarray(array).reshape(array.shape), node.name) for array in results)


def _stays(node: Node) -> bool:
    if node.op == "DequantizeLinear":
        return True
    sizes = [int(np.prod(value.shape)) for value in node.inputs if value is not None]
    if node.op == "Cast" and node.inputs[0] is not None and node.inputs[0].dtype in BYTES:
        # Weights of 8 bits: products take them as they are.
        return sizes[0] > TABLE_ELEMENTS
    if node.op == "Gather":
        table = node.inputs[0]
        wide = table is not None and (table.dtype.kind == "f" or table.dtype.itemsize == 1)
        return wide and sizes[0] > TABLE_ELEMENTS
    grown = max((int(np.prod(kind.shape)) for kind in node.types if kind.shape is not None), default=0)
    return grown > max(FOLDED_ELEMENTS, 4 * sum(sizes))
