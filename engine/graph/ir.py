"""The graph: frozen nodes that hold their inputs, so there are no edges to repair.

    Input ids ─┐
    Constant w ┴─ Gather ── Add ── LayerNormalization ── output

A `Value` is one output of one node. A `Graph` is its outputs; live nodes are found by walking back
from them. Rewriting never changes a node: it makes new ones, and what is no longer reached is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorType:
    """dtype and shape of a value; `shape` is None where it depends on data."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape) if self.shape is not None else '[?]'}"


@dataclass(frozen=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Node:
    """One operation. Compared by identity; inputs are the values themselves.

    op      an ONNX operator's name, or one of ours in lower case ("linear");
            "Input" and "Constant" are sources
    inputs  None stands for an optional input that is absent
    types   one per output
    name    the ONNX node's name (the tensor's, for sources): only for messages and profiles
    """

    op: str
    inputs: tuple[Value | None, ...]
    types: tuple[TensorType, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __repr__(self) -> str:
        return f"<{self.op} {self.name!r} {', '.join(map(str, self.types))}>"

    def __getitem__(self, index: int) -> Value:
        return Value(self, index)


@dataclass(frozen=True, slots=True)
class Value:
    """One output of one node; equal when node (by identity) and index are."""

    node: Node
    index: int = 0

    @property
    def type(self) -> TensorType:
        return self.node.types[self.index]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.type.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The static shape. Raises ValueError where it depends on data."""
        shape = self.type.shape
        if shape is None:
            raise ValueError(f"the shape of {self.node!r} depends on data")
        return shape

    @property
    def op(self) -> str:
        return self.node.op

    @property
    def array(self) -> Array | None:
        """The array of a constant, else None."""
        return self.node.attrs["value"] if self.node.op == "Constant" else None


@dataclass(frozen=True, eq=False)
class Graph:
    """What goes in, what comes out; everything between is reached from `outputs`."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    output_names: tuple[str, ...]

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(value.node.name for value in self.inputs)

    def nodes(self) -> list[Node]:
        """Live nodes, sources included, each after its inputs."""
        return order(self.outputs)

    def uses(self) -> Counter[Value]:
        """How often each value is read; being a graph output counts once."""
        counts = Counter(self.outputs)
        for node in self.nodes():
            counts.update(value for value in node.inputs if value is not None)
        return counts


def order(outputs: Iterable[Value]) -> list[Node]:
    """Nodes reached from `outputs`, each after its inputs; a stack, as models are deep."""
    done: dict[int, Node] = {}
    for output in outputs:
        stack: list[tuple[Node, Iterator[Value | None]]] = [(output.node, iter(output.node.inputs))]
        if id(output.node) in done:
            continue
        while stack:
            node, rest = stack[-1]
            step = next((v.node for v in rest if v is not None and id(v.node) not in done), None)
            if step is None:
                done.setdefault(id(node), node)
                stack.pop()
            else:
                stack.append((step, iter(step.inputs)))
    return list(done.values())


def constant(array: Array, name: str = "") -> Value:
    """A source that holds `array`; the array must not be changed afterwards."""
    return Node("Constant", (), (TensorType(array.dtype, array.shape),), {"value": array}, name)[0]


def graph_input(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Value:
    """A source that is fed at run time."""
    return Node("Input", (), (TensorType(dtype, shape),), {}, name)[0]
