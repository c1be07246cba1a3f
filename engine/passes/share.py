"""Equal nodes become one: the same operator on the same values with the same attributes.

x ─┬─ QuantizeLinear ── a          x ── QuantizeLinear ─┬─ a
   └─ QuantizeLinear ── b    =>                          └─ b
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from engine.graph import Graph, Node, Record, Value, substitute

# Larger constants are compared by identity: hashing weights would cost more than it saves.
COMPARED_BYTES = 64


def share(graph: Graph, record: Record) -> Graph:
    """`graph` with nodes of equal meaning merged into the first of them."""
    first: dict[Hashable, Node] = {}
    merged: dict[Value, Value] = {}
    for node in graph.nodes():
        key = _key(node, merged)
        if key is None:
            continue
        known = first.setdefault(key, node)
        if known is not node:
            merged.update((node[index], known[index]) for index in range(len(node.types)))
            if node.op != "Constant":
                record.append(("share", node.name))
    return substitute(graph, merged) if merged else graph


def _key(node: Node, merged: dict[Value, Value]) -> Hashable | None:
    if node.op in ("Input", "foreign"):
        return None
    if node.op == "Constant":
        array = node.attrs["value"]
        return (
            ("Constant", array.dtype.str, array.shape, array.tobytes())
            if array.nbytes <= COMPARED_BYTES
            else None
        )
    inputs = tuple(None if value is None else merged.get(value, value) for value in node.inputs)
    attrs = tuple((name, _hashable(value)) for name, value in sorted(node.attrs.items()))
    return (node.op, inputs, attrs)


def _hashable(value: Any) -> Hashable:
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value
