"""What an architecture answers when it has written its nodes."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import TensorProto, ValueInfoProto, helper

from engine.synthetic.builder import GraphBuilder


@dataclass(frozen=True, slots=True)
class Outline:
    """Inputs, outputs and opset of a graph."""

    inputs: list[ValueInfoProto]
    outputs: list[ValueInfoProto]
    opset: int


def image_outline(
    graph: GraphBuilder, result: str, *, names: tuple[str, str], size: int, output: list[int]
) -> Outline:
    """Give `result` its output name: a model from square RGB images to rows of shape `output`."""
    graph.output_node("Identity", result, output=names[1])
    image = helper.make_tensor_value_info(names[0], TensorProto.FLOAT, ["batch", 3, size, size])
    return Outline(
        [image], [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, ["batch", *output])], 13
    )
