"""From a trained text model to one int8 ONNX file: export, static QDQ, tables of bytes, and its figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from image_export import Batches
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from vocabulary import Int64

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def export(model: nn.Module, path: Path, outputs: tuple[str, ...], *, per_token: bool) -> None:
    """Write an f32 ONNX file with free batch and sequence axes."""
    model.eval()
    example = tuple(torch.ones(2, 7, dtype=torch.int64) for _ in INPUTS)
    answer = {0: "batch", 1: "sequence"} if per_token else {0: "batch"}
    axes = {name: {0: "batch", 1: "sequence"} for name in INPUTS} | dict.fromkeys(outputs, answer)
    torch.onnx.export(
        model,
        example,
        str(path),
        input_names=list(INPUTS),
        output_names=list(outputs),
        dynamic_axes=axes,
        opset_version=17,
        do_constant_folding=True,
        dynamo=False,
    )
    onnx.checker.check_model(str(path))


def quantise(
    source: Path,
    path: Path,
    batches: list[tuple[Int64, Int64, Int64]],
    ranges: str = "Percentile",
    whole: tuple[str, ...] = (),
) -> None:
    """Static QDQ of all products, and the word and position tables as bytes.

    batches   rows of one length to calibrate on, each int64 ids, mask and types
    ranges    how activations are bounded: Percentile, or MinMax for all that occurs
    whole     products with one of these in their names stay f32

    Activations are u8, percentiles are 0.01 and 99.99; weights are s8 symmetric per output channel, so
    that zeros stay zeros. Gather picks s8 rows of the tables, one DequantizeLinear follows.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    nodes = onnx.load(str(source)).graph.node
    quantize_static(
        str(source),
        str(path),
        Batches([dict(zip(INPUTS, batch, strict=True)) for batch in batches]),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm"],
        nodes_to_exclude=[node.name for node in nodes if any(part in node.name for part in whole)],
        calibrate_method=CalibrationMethod[ranges],
        extra_options={"WeightSymmetric": True, "ActivationSymmetric": False, "CalibPercentile": 99.99},
    )
    model = onnx.load(str(path))
    for name in ("word", "position"):
        _shrink_table(model.graph, name)
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path))


def _shrink_table(graph: onnx.GraphProto, name: str) -> None:
    tables = {table.name: table for table in graph.initializer if table.name.endswith(f"{name}.weight")}
    gather = next(node for node in graph.node if node.op_type == "Gather" and node.input[0] in tables)
    table = tables[gather.input[0]]
    values = numpy_helper.to_array(table)
    scale = np.float32(np.abs(values).max() / 127.0)
    small = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
    graph.initializer.remove(table)
    graph.initializer.extend(
        [
            numpy_helper.from_array(small, f"{name}_quantized"),
            helper.make_tensor(f"{name}_scale", TensorProto.FLOAT, [], [float(scale)]),
            helper.make_tensor(f"{name}_zero_point", TensorProto.INT8, [], [0]),
        ]
    )
    result = gather.output[0]
    gather.input[0], gather.output[0] = f"{name}_quantized", f"{result}_quantized"
    dequantise = helper.make_node(
        "DequantizeLinear",
        [gather.output[0], f"{name}_scale", f"{name}_zero_point"],
        [result],
        name=f"{name}_DequantizeLinear",
    )
    graph.node.insert(list(graph.node).index(gather) + 1, dequantise)


def share_of_zeros(path: Path) -> float:
    """Of the constant operands of MatMul (the encoder's matrices), int8 or f32."""
    graph = onnx.load(str(path)).graph
    constants = {table.name: table for table in graph.initializer}
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    names = [source.get(n.input[1], n.input[1]) for n in graph.node if n.op_type == "MatMul"]
    values = [numpy_helper.to_array(constants[name]) for name in names if name in constants]
    return float(sum((value == 0).sum() for value in values) / sum(value.size for value in values))
