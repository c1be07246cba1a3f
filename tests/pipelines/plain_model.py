"""The f32 model of an int8 one: the same weights, and no rounding of activations."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


def plain_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without QuantizeLinear and DequantizeLinear, whose constants are what they stand for.

    Takes QDQ around products, and tables of bytes whose rows are dequantised after Gather.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    graph = plain.graph
    constants = {table.name: numpy_helper.to_array(table) for table in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    renamed: dict[str, str] = {}
    for node in [node for node in graph.node if node.op_type == "DequantizeLinear"]:
        source = made_by.get(node.input[0])
        if node.input[0] in constants:
            _replace(graph, node.output[0], _value(node, constants[node.input[0]], constants))
        elif source is not None and source.op_type == "QuantizeLinear":
            renamed[node.output[0]] = source.input[0]
        elif source is not None and source.op_type == "Gather":
            table = f"{node.output[0]}_table"
            _replace(graph, table, _value(node, constants[source.input[0]], constants))
            source.input[0], source.output[0] = table, node.output[0]
    kept = [node for node in graph.node if node.op_type not in ("QuantizeLinear", "DequantizeLinear")]
    # The graph's own outputs keep their names, and so whatever made them takes these.
    final = {_source(entry.name, renamed): entry.name for entry in graph.output if entry.name in renamed}
    for node in kept:
        inputs = [_source(name, renamed) for name in node.input]
        node.input[:] = [final.get(name, name) for name in inputs]
        node.output[:] = [final.get(name, name) for name in node.output]
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    tables = [table for table in graph.initializer if table.name in used]
    del graph.initializer[:]
    graph.initializer.extend(tables)
    del graph.value_info[:]
    return plain


def _source(name: str, renamed: dict[str, str]) -> str:
    while name in renamed:
        name = renamed[name]
    return name


def _value(
    node: onnx.NodeProto, array: NDArray[np.generic], constants: dict[str, NDArray[np.generic]]
) -> NDArray[np.float32]:
    scale = constants[node.input[1]].astype(np.float32)
    zero = constants[node.input[2]].astype(np.int32) if len(node.input) > 2 else np.int32(0)
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    if np.ndim(scale) == 1 and np.size(scale) > 1:
        shape = [1] * array.ndim
        shape[axis] = -1
        scale, zero = scale.reshape(shape), np.reshape(zero, shape)
    return ((array.astype(np.int32) - zero) * scale).astype(np.float32)


def _replace(graph: onnx.GraphProto, name: str, value: NDArray[np.float32]) -> None:
    graph.initializer.append(numpy_helper.from_array(value, name))
