"""Reading a model file: existence, parsing, the checker, initialisers as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, ValueInfoProto, helper, inliner, numpy_helper

from engine.errors import ModelError, ModelNotFoundError, SparselaneError, UnsupportedOpError, first_line
from engine.frontend.external_data import read_external
from engine.frontend.forms import FORMS
from engine.frontend.mapped import WeightFile, read_weights
from engine.frontend.model import (
    CONTRIB,
    DAMAGE,
    OLDEST_OPSET,
    Model,
    ModelFacts,
    ModelInput,
    ModelOutput,
    is_known,
    numpy_dtype,
    read_body,
    unsupported,
)
from engine.frontend.wire import lighten
from engine.graph import Array

# ONNX Runtime's optimiser writes these into the default domain, whatever opset the file has.
EARLY = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})
KNOWN_DOMAINS = frozenset({"", "ai.onnx.ml"})
# protobuf cannot hold more in one message; larger models keep their weights outside.
MAX_FILE_BYTES = 2**31 - 1
MAX_DIMS = 32


@dataclass(frozen=True)
class _Source:
    """A file as it was parsed.

    name    what messages call it
    folder  where its external data are; None for a model given as bytes
    raws    u8, the bytes of large initialisers by name: they are not in `proto`
    files   the files that hold them
    """

    proto: onnx.ModelProto
    name: str
    folder: Path | None = None
    raws: Mapping[str, Array] = field(default_factory=dict)
    files: dict[Path, WeightFile] = field(default_factory=dict)


def open_model(source: str | Path | bytes | onnx.ModelProto) -> Model:
    """Read and check a model: a path, the bytes of a file, or a parsed model (which is not changed).

    Large weights stay in the file, or in the bytes given, and are read when plans are made.

    Raises ModelNotFoundError (no such file), ModelError (not ONNX, truncated, refused by the checker, unsafe
    external data) or UnsupportedOpError (an operator or domain that nobody here knows).
    """
    parsed = _parse(source)
    try:
        return _decode(parsed)
    except SparselaneError:
        raise
    except DAMAGE as error:
        message = (
            f"{parsed.name} is damaged: {type(error).__name__}, {first_line(error)}; copy or export it again."
        )
        raise ModelError(message) from error


def _decode(source: _Source) -> Model:
    proto, name = source.proto, source.name
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    _name_extensions(proto)
    arrays = _take_initialisers(proto, source)
    opsets = _opsets(proto, name)
    # The checker's needs change what the file says of its outputs.
    outputs = tuple(map(_output, proto.graph.output))
    # Before the checker, which would refuse them without their names.
    inputs = tuple(_input(entry, name) for entry in proto.graph.input if entry.name not in arrays)
    _check(proto, arrays, name)
    body = read_body(proto.graph, arrays, opsets)
    files = tuple(source.files.values())
    return Model(name, inputs, body, opsets, proto.ir_version, outputs, _facts(proto), files)


def _parse(source: str | Path | bytes | onnx.ModelProto) -> _Source:
    if isinstance(source, onnx.ModelProto):
        copied = onnx.ModelProto()
        copied.CopyFrom(source)
        return _Source(copied, source.graph.name or "model")
    if isinstance(source, bytes):
        return _parsed(np.frombuffer(source, np.uint8), "model bytes")
    path = Path(source)
    if not path.is_file():
        message = f"there is no model file at {path}; check the path."
        raise ModelNotFoundError(message)
    if path.stat().st_size > MAX_FILE_BYTES:
        message = f"{path} is larger than 2 GiB, which ONNX cannot hold; save its weights as external data."
        raise ModelError(message)
    file = read_weights(path)
    return _parsed(file.content, str(path), path.parent, file)


def _parsed(content: Array, name: str, folder: Path | None = None, file: WeightFile | None = None) -> _Source:
    proto = onnx.ModelProto()
    try:
        light, spans = lighten(content.data)
        proto.ParseFromString(light)
    except (DecodeError, RuntimeError, ValueError, LookupError) as error:
        message = (
            f"{name} is not an ONNX model, or is truncated ({content.size} bytes); copy or export it again."
        )
        raise ModelError(message) from error
    if not proto.ir_version or not proto.HasField("graph"):
        message = f"{name} is not an ONNX model: it holds no graph; copy or export it again."
        raise ModelError(message)
    raws = {
        proto.graph.initializer[index].name: content[span.begin : span.end] for index, span in spans.items()
    }
    files = {} if file is None or not raws else {file.path: file}
    return _Source(proto, name, folder, raws, files)


def _take_initialisers(proto: onnx.ModelProto, source: _Source) -> dict[str, Array]:
    """Move the weights out of `proto` into arrays: held once, and the checker has no copy of them to make."""
    if proto.graph.sparse_initializer:
        message = f"{source.name} holds sparse initialisers, which are not supported; save the weights dense."
        raise ModelError(message)
    arrays = {tensor.name: _array(tensor, source) for tensor in proto.graph.initializer}
    _refuse_external_attributes(proto.graph, source.name)
    del proto.graph.initializer[:]
    return arrays


def _array(tensor: TensorProto, source: _Source) -> Array:
    name, raw = source.name, source.raws.get(tensor.name)
    if len(tensor.dims) > MAX_DIMS or any(size < 0 for size in tensor.dims):
        message = f"{name}: tensor {tensor.name!r} has impossible sizes {list(tensor.dims)}; export it again."
        raise ModelError(message)
    if tensor.data_location == TensorProto.EXTERNAL:
        return read_external(tensor, source.folder, name, source.files)
    try:
        if raw is not None:
            dtype = numpy_dtype(tensor.data_type)
            if raw.size == np.prod(tensor.dims, dtype=np.int64) * dtype.itemsize:
                return raw.view(dtype).reshape(tuple(tensor.dims))
            # Several elements to a byte, or damaged: onnx knows.
            tensor.raw_data = raw.tobytes()
        return np.asarray(numpy_helper.to_array(tensor))
    except (TypeError, ValueError, KeyError) as error:
        message = (
            f"{name}: tensor {tensor.name!r} cannot be read ({first_line(error)}); export the model again."
        )
        raise ModelError(message) from error


def _refuse_external_attributes(graph: onnx.GraphProto, name: str) -> None:
    """Tensors in attributes and bodies must be stored in the file: the onnx package would follow any path."""
    for node in graph.node:
        for entry in node.attribute:
            tensors = [entry.t, *entry.tensors, *entry.g.initializer]
            if any(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors):
                message = f"{name}: node {node.name!r} keeps a tensor outside the file; store it inside."
                raise ModelError(message)
            _refuse_external_attributes(entry.g, name)


def _check(proto: onnx.ModelProto, arrays: dict[str, Array], name: str) -> None:
    """Run the checker with the initialisers standing as inputs.

    It insists on shapes that no one reads: those of inner values are dropped, and outputs may lack theirs.
    """
    del proto.graph.value_info[:]
    for entry in proto.graph.output:
        entry.type.tensor_type.elem_type = entry.type.tensor_type.elem_type or TensorProto.FLOAT
        entry.type.tensor_type.shape.SetInParent()
    declared = {entry.name for entry in proto.graph.input}
    count = len(proto.graph.input)
    proto.graph.input.extend(_declaration(key, array) for key, array in arrays.items() if key not in declared)
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        message = f"{name} is not a valid ONNX model: {first_line(error)}."
        raise ModelError(message) from error
    del proto.graph.input[count:]


def _declaration(key: str, array: Array) -> ValueInfoProto:
    return helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def _opsets(proto: onnx.ModelProto, name: str) -> dict[str, int]:
    opsets: dict[str, int] = {}
    for entry in proto.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        # Some writers list the default domain twice.
        opsets[domain] = max(entry.version, opsets.get(domain, 0))
    if opsets.get("", OLDEST_OPSET) < OLDEST_OPSET:
        message = (
            f"{name} uses opset {opsets['']}; the oldest supported is {OLDEST_OPSET}. Export the model again."
        )
        raise UnsupportedOpError(message)
    newest = onnx.defs.onnx_opset_version()
    if opsets.get("", OLDEST_OPSET) > newest:
        message = (
            f"{name} uses opset {opsets['']}; the installed onnx {onnx.__version__} knows those up to {newest}. "
            "Export the model for one of these, or upgrade onnx."
        )
        raise UnsupportedOpError(message)
    _refuse_unknown(proto.graph, opsets)
    return opsets


def _name_extensions(proto: onnx.ModelProto) -> None:
    """Give operators that the default domain does not have yet to the domain of who wrote them."""
    opset = max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    found = [
        node
        for node in proto.graph.node
        if node.domain in ("", "ai.onnx") and node.op_type in EARLY and not is_known(node.op_type, "", opset)
    ]
    for node in found:
        node.domain = CONTRIB
    if found and all(entry.domain != CONTRIB for entry in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(CONTRIB, 1))


def _refuse_unknown(graph: onnx.GraphProto, opsets: dict[str, int]) -> None:
    """Refuse operators that nobody here knows, before the checker says the same less clearly."""
    for node in graph.node:
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain == CONTRIB:
            known, reason = (CONTRIB, node.op_type) in FORMS, "this extension of ONNX Runtime is not read"
        elif domain in KNOWN_DOMAINS:
            known, reason = is_known(node.op_type, domain, opsets.get(domain, 1)), "no such operator is known"
        else:
            known, reason = False, "its domain is not read"
        if not known:
            raise unsupported(node.op_type, domain, node.name or "".join(node.output[:1]), opsets, reason)
        for entry in node.attribute:
            _refuse_unknown(entry.g, opsets)


def _input(entry: ValueInfoProto, name: str) -> ModelInput:
    if not entry.type.HasField("tensor_type"):
        message = f"{name}: input {entry.name!r} is not a tensor; only tensors can be fed."
        raise ModelError(message)
    tensor: Any = entry.type.tensor_type
    if tensor.elem_type == TensorProto.STRING:
        message = f"{name}: input {entry.name!r} is text; only numbers can be fed. Cut the model behind its tokenizer."
        raise ModelError(message)
    if not tensor.elem_type or not tensor.HasField("shape"):
        lacking = "rank" if tensor.elem_type else "type"
        message = f"{name}: input {entry.name!r} has no declared {lacking}; export the model with one."
        raise ModelError(message)
    return ModelInput(entry.name, numpy_dtype(tensor.elem_type), _dims(tensor))


def _dims(tensor: Any) -> tuple[int | str | None, ...]:
    # Some writers store 0 or -1 for a dimension that is open.
    return tuple(dim.dim_value if dim.dim_value > 0 else (dim.dim_param or None) for dim in tensor.shape.dim)


def _output(entry: ValueInfoProto) -> ModelOutput:
    tensor: Any = entry.type.tensor_type
    dtype = numpy_dtype(tensor.elem_type) if tensor.elem_type else None
    return ModelOutput(entry.name, dtype, _dims(tensor) if tensor.HasField("shape") else None)


def _facts(proto: onnx.ModelProto) -> ModelFacts:
    return ModelFacts(
        proto.producer_name,
        proto.graph.name,
        proto.domain,
        proto.doc_string,
        proto.graph.doc_string,
        proto.model_version,
        {entry.key: entry.value for entry in proto.metadata_props},
    )
