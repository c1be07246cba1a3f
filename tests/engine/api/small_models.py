"""Small ONNX models written for the tests of the engine's outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def perceptron(batch: str | int = "batch", *, op: str = "Relu", domain: str = "") -> onnx.ModelProto:
    """x f32 [batch, 6] -> MatMul -> Add -> op -> y [batch, 4]."""
    source = np.random.default_rng(0)
    weights = numpy_helper.from_array(source.standard_normal((6, 4)).astype(np.float32), "w")
    bias = numpy_helper.from_array(source.standard_normal(4).astype(np.float32), "b")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], name="product"),
        helper.make_node("Add", ["p", "b"], ["s"], name="sum"),
        helper.make_node(op, ["s"], ["y"], name="last", domain=domain),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4])
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    graph = helper.make_graph(nodes, "perceptron", [x], [y], [weights, bias])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def lookup() -> onnx.ModelProto:
    """ids i64 [batch, sequence] -> rows of a table [batch, sequence, 16], summed with a second look-up."""
    source = np.random.default_rng(1)
    table = numpy_helper.from_array(source.standard_normal((300, 16)).astype(np.float32), "table")
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"], name="words"),
        helper.make_node("Tanh", ["e"], ["y"], name="bend"),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "sequence"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", 16])
    graph = helper.make_graph(nodes, "lookup", [ids], [y], [table])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> str:
    """The path of the model, written below `folder`."""
    path = folder / name
    onnx.save(model, path)
    return str(path)
