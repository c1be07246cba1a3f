"""A model as it stands after reading: parsed once, checked, its weights held as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from engine.errors import UnsupportedOpError
from engine.frontend.mapped import WeightFile
from engine.graph import Value, constant

OLDEST_OPSET = 7
# The extensions of ONNX Runtime: no schemas in the onnx package; forms/contrib.py says which we read.
CONTRIB = "com.microsoft"
# What decoding or folding raises on content that the checker lets through and no writer makes.
DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    onnx.shape_inference.InferenceError,
)


@dataclass(frozen=True)
class ModelInput:
    """One input of a model; a dimension is a number, a symbol's name, or None where the file says nothing."""

    name: str
    dtype: np.dtype[Any]
    dims: tuple[int | str | None, ...]


@dataclass(frozen=True)
class ModelOutput:
    """One output as the file declares it; dtype or dims are None where it does not."""

    name: str
    dtype: np.dtype[Any] | None
    dims: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class ModelFacts:
    """What a file says of itself; `custom` holds its own entries."""

    producer_name: str = ""
    graph_name: str = ""
    domain: str = ""
    description: str = ""
    graph_description: str = ""
    version: int = 0
    custom: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Operation:
    """One node of the file with its attributes decoded and the schema's defaults filled in.

    version  the operator's since-version, which decides the meaning of inputs and attributes
    bodies   graphs held in attributes (branches, loop bodies), by attribute name
    """

    op: str
    domain: str
    version: int
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    bodies: Mapping[str, Body]
    proto: NodeProto


@dataclass(frozen=True, eq=False)
class Body:
    """Operations in order, with the constants they bring along and the names they take and give."""

    operations: tuple[Operation, ...]
    constants: Mapping[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Model:
    """A parsed and checked model.

    files  where its large weights lie
    memo   what binding found to depend on no input shape
    """

    name: str
    inputs: tuple[ModelInput, ...]
    body: Body
    opsets: Mapping[str, int]
    ir_version: int
    outputs: tuple[ModelOutput, ...] = ()
    facts: ModelFacts = ModelFacts()
    files: tuple[WeightFile, ...] = ()
    memo: dict[Operation, tuple[Value, ...]] = field(default_factory=dict)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs that must be fed, in the file's order."""
        return tuple(entry.name for entry in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the file's order."""
        return self.body.outputs

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return self.opsets.get("", 1)


def read_body(graph: onnx.GraphProto, arrays: Mapping[str, np.ndarray], opsets: Mapping[str, int]) -> Body:
    """Decode a graph whose initialisers are given as `arrays`; bodies inside bring their own initialisers.

    Every operator must have been found to be known.
    """
    constants = {name: constant(array, name) for name, array in arrays.items()}
    return Body(
        tuple(_operation(proto, opsets) for proto in graph.node),
        constants,
        tuple(entry.name for entry in graph.input if entry.name not in constants),
        tuple(entry.name for entry in graph.output),
    )


def _operation(proto: NodeProto, opsets: Mapping[str, int]) -> Operation:
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    version, defaults = _schema(proto.op_type, domain, opsets.get(domain, 1))
    bodies = {
        entry.name: read_body(
            entry.g, {t.name: numpy_helper.to_array(t) for t in entry.g.initializer}, opsets
        )
        for entry in proto.attribute
        if entry.type == AttributeProto.GRAPH
    }
    own = {entry.name: _attribute(entry) for entry in proto.attribute if entry.name not in bodies}
    return Operation(
        proto.op_type,
        domain,
        version,
        proto.name or (proto.output[0] if proto.output else proto.op_type),
        tuple(proto.input),
        tuple(proto.output),
        {**defaults, **own},
        bodies,
        _detached(proto),
    )


def _detached(proto: NodeProto) -> NodeProto:
    """A copy of a node: the original would keep the memory of the whole parsed file, weights included."""
    copy = NodeProto()
    copy.CopyFrom(proto)
    return copy


def _schema(op: str, domain: str, opset: int) -> tuple[int, Mapping[str, Any]]:
    """Since-version and default attributes; extensions of ONNX Runtime have no schema to ask."""
    return (1, {}) if domain == CONTRIB else _defaults(op, domain, opset)


@cache
def is_known(op: str, domain: str, opset: int) -> bool:
    """Whether the standard has this operator at this opset."""
    try:
        onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return False
    return True


def unsupported(
    op: str, domain: str, name: str, opsets: Mapping[str, int], reason: str
) -> UnsupportedOpError:
    """The error for an operator that cannot be read, naming all there is to name."""
    where = f'{op} of domain "{domain or "ai.onnx"}" (node "{name}", opset {opsets.get(domain, 0)})'
    return UnsupportedOpError(
        f"{where} is not supported: {reason}. Cut the model before this node, or export it in another way."
    )


def unsupported_operation(operation: Operation, model: Model, reason: str) -> UnsupportedOpError:
    """The same for an operation of a model."""
    return unsupported(operation.op, operation.domain, operation.name, model.opsets, reason)


@cache
def _defaults(op: str, domain: str, opset: int) -> tuple[int, Mapping[str, Any]]:
    schema = onnx.defs.get_schema(op, opset, domain)
    found = {name: _attribute(entry.default_value) for name, entry in schema.attributes.items()}
    return schema.since_version, {name: value for name, value in found.items() if value is not None}


def _attribute(entry: AttributeProto) -> Any:
    """An attribute's value: numbers, text, arrays, tuples of them; None when it has no type."""
    if entry.type == AttributeProto.UNDEFINED:
        return None
    if entry.type == AttributeProto.TENSOR:
        return numpy_helper.to_array(entry.t)
    if entry.type in (AttributeProto.SPARSE_TENSOR, AttributeProto.TYPE_PROTO):
        return entry
    value = helper.get_attribute_value(entry)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in value)
    return value


def numpy_dtype(element: int) -> np.dtype[Any]:
    """The NumPy dtype of an ONNX element type. Raises KeyError for UNDEFINED."""
    if element == TensorProto.UNDEFINED:
        raise KeyError(element)
    return np.dtype(helper.tensor_dtype_to_np_dtype(element))
