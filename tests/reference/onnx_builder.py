"""Tiny ONNX models, written node by node, and onnxruntime unoptimised as a peer. Knows nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


class ModelBuilder:
    """Collects nodes; `model` checks them and wraps them up."""

    def __init__(self, opset: int = 14, domains: Mapping[str, int] | None = None) -> None:
        self.opsets = {"": opset, **(domains or {})}
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[str] = []
        self.initialisers: list[onnx.TensorProto] = []

    def input(self, name: str, dtype: Any, dims: Sequence[int | str]) -> str:
        element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(helper.make_tensor_value_info(name, element, dims))
        return name

    def weight(self, array: Any, name: str = "") -> str:
        name = name or f"w{len(self.initialisers)}"
        self.initialisers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def number(self, value: float, dtype: Any = np.float32) -> str:
        return self.op("Constant", value=numpy_helper.from_array(np.asarray(value, dtype)))

    def ints(self, *values: int) -> str:
        return self.op("Constant", value=numpy_helper.from_array(np.array(values, np.int64)))

    def op(self, kind: str, *inputs: str, **attrs: Any) -> str:
        return self.ops(kind, *inputs, count=1, **attrs)[0]

    def ops(self, kind: str, *inputs: str, count: int, **attrs: Any) -> list[str]:
        name = f"{kind}_{len(self.nodes)}"
        outputs = [f"{name}_{index}" for index in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, name=name, **attrs))
        return outputs

    def output(self, *names: str) -> None:
        self.outputs += names

    def model(self) -> onnx.ModelProto:
        outputs = [onnx.ValueInfoProto(name=name) for name in self.outputs]
        graph = helper.make_graph(self.nodes, "tiny", self.inputs, outputs, self.initialisers)
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        typed = onnx.shape_inference.infer_shapes(model)
        known = {entry.name: entry for entry in typed.graph.output}
        for entry in model.graph.output:
            if known[entry.name].type.HasField("tensor_type"):
                entry.type.CopyFrom(known[entry.name].type)
        return model


def peer_session(model: onnx.ModelProto | str) -> Any:
    """An onnxruntime session that runs the graph as it is written."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    content = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_peer(model: onnx.ModelProto | str, feeds: Mapping[str, Any]) -> list[Any]:
    """Outputs of onnxruntime for these feeds."""
    return list(peer_session(model).run(None, dict(feeds)))
