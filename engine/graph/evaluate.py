"""A graph's meaning, node by node in NumPy: slow, plain, the measure of every pass and kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engine.errors import InternalError, ModelError, SparselaneError, TensorError, first_line
from engine.graph.ir import Array, Graph, Node, Value
from engine.graph.ops import OPS


def evaluate_node(node: Node, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
    """Outputs of one node for the given input arrays (None where an optional input is absent).

    Raises InternalError for an operator without a meaning, ModelError where it cannot take these arrays.
    """
    try:
        return _evaluated(node, arrays)
    except SparselaneError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        where = f'node "{node.name}" ({node.attrs.get("onnx_op", node.op)})'
        message = f"{where} does not fit its inputs: {first_line(error)}. Check what is fed, or the model."
        raise ModelError(message) from error


def _evaluated(node: Node, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
    if node.op == "foreign":
        return tuple(np.asarray(array) for array in node.attrs["run"](list(arrays)))
    row = OPS.get(node.op)
    if row is None:
        message = f"{node!r} has no meaning in engine/graph/ops; add a row for {node.op!r}."
        raise InternalError(message)
    with np.errstate(all="ignore"):
        return tuple(np.asarray(array) for array in row.evaluate(node.attrs, *arrays))


def evaluate(graph: Graph, feeds: Mapping[str, Array]) -> list[Array]:
    """Run `graph` on `feeds`, arrays by input name; answers the outputs in order.

    Raises TensorError when an input is missing or has another dtype or shape than the graph was bound to.
    """
    uses = graph.uses()
    arrays: dict[Value, Array] = {}
    for value in graph.inputs:
        arrays[value] = _fed(value, feeds)
    for node in graph.nodes():
        if node.op == "Constant":
            arrays[Value(node)] = node.attrs["value"]
        if node.op in ("Constant", "Input"):
            continue
        results = _evaluated(node, [None if value is None else arrays[value] for value in node.inputs])
        arrays.update((Value(node, index), result) for index, result in enumerate(results))
        for source in node.inputs:
            if source is not None:
                uses[source] -= 1
                if not uses[source]:
                    del arrays[source]
    return [np.asarray(arrays[value]) for value in graph.outputs]


def _fed(value: Value, feeds: Mapping[str, Array]) -> Array:
    name = value.node.name
    if name not in feeds:
        message = f"input {name!r} is not fed; the graph takes {value.type}."
        raise TensorError(message)
    array = np.asarray(feeds[name])
    if array.dtype != value.dtype or array.shape != value.shape:
        message = f"input {name!r} is {array.dtype}{list(array.shape)}; the graph was bound to {value.type}."
        raise TensorError(message)
    return array
