"""Operators without a meaning of ours: types by onnx's inference, values by onnx's reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TypeProto, helper, numpy_helper

from engine.frontend.form import TABLE_ELEMENTS, Values, fold
from engine.frontend.model import Model, Operation, numpy_dtype, unsupported_operation
from engine.graph import Array, Node, TensorType, Value

if TYPE_CHECKING:
    from onnx.reference import ReferenceEvaluator

# onnx.reference is imported where it is used: 16 MB that few models need.
RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def foreign(operation: Operation, inputs: tuple[Value | None, ...], model: Model) -> Values:
    """Outputs of a node of op "foreign": attrs onnx_op, domain and run(list of arrays) -> list of arrays.

    Raises UnsupportedOpError where the reference has no such operator or its output is not a tensor.
    """
    _refuse_unknown(operation, model)
    types = _types(operation, inputs, model)
    attrs = {"onnx_op": operation.op, "domain": operation.domain, "run": _runner(operation, model)}
    node = Node("foreign", inputs, types, attrs, operation.name)
    if operation.op in RANDOM:
        return tuple(node[index] for index in range(len(types)))
    return fold(node)


def _refuse_unknown(operation: Operation, model: Model) -> None:
    if operation.bodies:
        raise unsupported_operation(operation, model, "its condition or trip count depends on data")
    from onnx.reference.op_run import RuntimeContextError
    from onnx.reference.ops._op_list import load_op

    try:
        load_op(operation.domain, operation.op, operation.version)
    except (ImportError, NotImplementedError, RuntimeContextError, ValueError) as error:
        raise unsupported_operation(operation, model, "there is no reference for it") from error


def _type_proto(value: Value) -> TypeProto:
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.dtype), value.type.shape)


def _types(operation: Operation, inputs: tuple[Value | None, ...], model: Model) -> tuple[TensorType, ...]:
    schema = onnx.defs.get_schema(operation.op, model.opsets.get(operation.domain, 1), operation.domain)
    named = {name: value for name, value in zip(operation.inputs, inputs, strict=True) if value is not None}
    data = {
        name: numpy_helper.from_array(np.ascontiguousarray(value.array), name)
        for name, value in named.items()
        if value.array is not None and value.array.size <= TABLE_ELEMENTS
    }
    found = onnx.shape_inference.infer_node_outputs(
        schema,
        operation.proto,
        {name: _type_proto(value) for name, value in named.items()},
        data,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in model.opsets.items()],
        ir_version=model.ir_version,
    )
    return tuple(_tensor_type(found.get(name), operation, model) for name in operation.outputs if name)


def _tensor_type(proto: TypeProto | None, operation: Operation, model: Model) -> TensorType:
    if proto is None or not proto.tensor_type.elem_type:
        raise unsupported_operation(operation, model, "an output is not a tensor of a known type")
    tensor = proto.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    known = tensor.HasField("shape") and None not in dims
    shape = tuple(size for size in dims if size is not None) if known else None
    return TensorType(numpy_dtype(tensor.elem_type), shape)


def _runner(operation: Operation, model: Model) -> Callable[[Sequence[Array | None]], list[Array]]:
    """What runs the node: a model of this one node under onnx's reference, made when first asked."""
    made: list[ReferenceEvaluator] = []

    def run(arrays: Sequence[Array | None]) -> list[Array]:
        from onnx.reference import ReferenceEvaluator

        if not made:
            made.append(ReferenceEvaluator(_one_node_model(operation, model)))
        feeds = {
            name: array for name, array in zip(operation.inputs, arrays, strict=True) if array is not None
        }
        return [np.asarray(array) for array in made[0].run(None, feeds)]

    return run


def _one_node_model(operation: Operation, model: Model) -> onnx.ModelProto:
    unknown = TypeProto()
    graph = helper.make_graph(
        [operation.proto],
        "one_node",
        [helper.make_value_info(name, unknown) for name in dict.fromkeys(operation.inputs) if name],
        [helper.make_value_info(name, unknown) for name in operation.outputs if name],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in model.opsets.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
