"""A graph as text: one line per node, for `explain` and for messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.graph.ir import Graph, Node, Value


def show(graph: Graph) -> str:
    """The live nodes in order: number, operator, inputs, attributes, types, name; constants where read."""
    nodes = [node for node in graph.nodes() if node.op != "Constant"]
    numbers = {node: number for number, node in enumerate(nodes)}
    lines = [_line(node, numbers) for node in nodes]
    outputs = zip(graph.output_names, graph.outputs, strict=True)
    lines += [f"output {name} = {_reference(value, numbers)}" for name, value in outputs]
    return "\n".join(lines)


def census(graph: Graph) -> Counter[str]:
    """How many live nodes there are of each operator, sources left out."""
    return Counter(node.op for node in graph.nodes() if node.op not in ("Input", "Constant"))


def _line(node: Node, numbers: Mapping[Node, int]) -> str:
    inputs = ", ".join("-" if value is None else _reference(value, numbers) for value in node.inputs)
    attrs = "".join(f" {name}={_short(value)}" for name, value in node.attrs.items() if name != "run")
    types = ", ".join(map(str, node.types))
    return f"%{numbers[node]} {node.op}({inputs}){attrs} : {types}  {node.name}".rstrip()


def _reference(value: Value, numbers: Mapping[Node, int]) -> str:
    array = value.array
    if array is not None:
        return (
            f"{array.reshape(()):.6g}"
            if array.size == 1 and array.dtype.kind in "fiu"
            else f"const {value.type}"
        )
    return f"%{numbers[value.node]}" + (f".{value.index}" if value.index else "")


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))})"
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
