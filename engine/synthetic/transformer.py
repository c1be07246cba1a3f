"""BERT encoders: batch and sequence open, the mask an additive row, then answers, classes or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from onnx import TensorProto, helper

from engine.synthetic.builder import F32
from engine.synthetic.layers import Layers
from engine.synthetic.outline import Outline
from engine.synthetic.weights import quantise_symmetric, short_scale

VOCABULARY = 30522
POSITIONS = 512
IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"


@dataclass(frozen=True, slots=True)
class Encoder:
    """Sizes of an encoder, and what reads its last layer."""

    layers: int
    hidden: int
    inner: int
    heads: int
    head: Literal["answer", "none"]


def build(sizes: Encoder, layers: Layers) -> Outline:
    """Write the encoder; returns its inputs, outputs and opset."""
    graph = layers.graph
    x = _embeddings(sizes, layers)
    graph.scope = ""
    mask = graph.node("Unsqueeze", graph.node("Unsqueeze", MASK, graph.shape(1)), graph.shape(2))
    mask = graph.node("Cast", mask, to=TensorProto.FLOAT)
    mask = graph.node("Mul", graph.node("Sub", graph.scalar(1), mask), graph.scalar(-10000))
    for layer in range(graph.spec.layers or sizes.layers):
        x = _layer(sizes, layers, x, mask, f"/encoder/layer.{layer}")
    graph.scope = ""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in (IDS, MASK, TYPES)
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in _head(sizes, layers, x).items()
    ]
    return Outline(inputs, outputs, 17 if graph.spec.layer_norm_op else 14)


def _dim(layers: Layers, tensor: str, axis: int) -> str:
    """One dimension of a tensor as a vector of one, computed in the graph."""
    graph = layers.graph
    size = graph.node("Gather", graph.node("Shape", tensor), graph.constant(np.int64(axis)), axis=0)
    return graph.node("Unsqueeze", size, graph.shape(0))


def _embeddings(sizes: Encoder, layers: Layers) -> str:
    graph = layers.graph
    graph.scope = "/embeddings"
    positions = graph.node(
        "Slice",
        graph.initialiser(np.arange(POSITIONS, dtype=np.int64)[None], "position_ids"),
        graph.shape(0),
        _dim(layers, IDS, 1),
        graph.shape(1),
        graph.shape(1),
    )
    hidden = sizes.hidden
    words = _lookup(layers, graph.random(VOCABULARY, hidden, std=0.05), IDS, "word_embeddings")
    types = _lookup(layers, graph.random(2, hidden, std=0.02), TYPES, "token_type_embeddings")
    x = graph.node("Add", words, types)
    table = graph.random(POSITIONS, hidden, std=0.02)
    x = graph.node("Add", x, _lookup(layers, table, positions, "position_embeddings"))
    return layers.layer_norm(x, hidden)


def _lookup(layers: Layers, table: F32, index: str, name: str) -> str:
    """Rows of a table: f32, or in the form int u8 with zero point 128."""
    graph = layers.graph
    if layers.form != "int":
        return graph.node("Gather", graph.initialiser(table, f"{name}.weight"), index)
    scale = short_scale(np.abs(table).max() / 127)
    whole = (quantise_symmetric(table, scale) + 128).astype(np.uint8)
    rows = graph.node("Gather", graph.initialiser(whole, f"{name}.weight_quant"), index)
    parameters = graph.initialiser(scale, f"{name}.scale"), graph.initialiser(np.uint8(128), f"{name}.zp")
    return graph.node("DequantizeLinear", rows, *parameters)


def _layer(sizes: Encoder, layers: Layers, x: str, mask: str, base: str) -> str:
    graph, hidden, inner = layers.graph, sizes.hidden, sizes.inner
    graph.scope = f"{base}/attention/self"
    context = _attention(sizes, layers, x, mask)
    graph.scope = f"{base}/attention/output"
    projected = layers.linear(context, hidden, hidden, std=0.6 * hidden**-0.5)
    x = layers.layer_norm(graph.node("Add", projected, x), hidden)
    graph.scope = f"{base}/intermediate"
    expanded = layers.gelu(layers.linear(x, hidden, inner, std=hidden**-0.5))
    graph.scope = f"{base}/output"
    contracted = layers.linear(expanded, inner, hidden, std=0.6 * inner**-0.5)
    return layers.layer_norm(graph.node("Add", contracted, x), hidden)


def _attention(sizes: Encoder, layers: Layers, x: str, mask: str) -> str:
    graph, hidden = layers.graph, sizes.hidden
    width = hidden // sizes.heads

    def split(tensor: str, perm: list[int]) -> str:
        batch, sequence = _dim(layers, tensor, 0), _dim(layers, tensor, 1)
        shape = graph.node("Concat", batch, sequence, graph.shape(sizes.heads), graph.shape(width), axis=0)
        return graph.node("Transpose", graph.node("Reshape", tensor, shape), perm=perm)

    # Sharp attention and small branches: otherwise random layers soon make all tokens alike.
    query, key, value = (
        layers.linear(x, hidden, hidden, std=gain * hidden**-0.5) for gain in (1.5, 1.5, 1.0)
    )
    query = split(query, [0, 2, 1, 3])
    key = split(key, [0, 2, 3, 1])
    value = split(value, [0, 2, 1, 3])
    scores = graph.node("Div", layers.activation_product(query, key), graph.scalar(width**0.5))
    weights = graph.node("Softmax", graph.node("Add", scores, mask), axis=-1)
    context = graph.node("Transpose", layers.activation_product(weights, value), perm=[0, 2, 1, 3])
    batch, sequence = _dim(layers, context, 0), _dim(layers, context, 1)
    shape = graph.node("Concat", batch, sequence, graph.shape(hidden), axis=0)
    return graph.node("Reshape", context, shape)


def _head(sizes: Encoder, layers: Layers, x: str) -> dict[str, list[str | int]]:
    """Write what reads the last layer; returns the outputs' names and shapes."""
    graph, hidden = layers.graph, sizes.hidden
    if sizes.head == "none":
        graph.output_node("Identity", x, output="last_hidden_state")
        return {"last_hidden_state": ["batch", "sequence", hidden]}
    if graph.spec.classifier:
        graph.scope = "/pooler"
        first = graph.node("Gather", x, graph.constant(np.int64(0)), axis=1)
        pooled = graph.node("Tanh", layers.gemm(first, hidden, hidden, std=hidden**-0.5))
        graph.scope = "/classifier"
        graph.output_node("Identity", layers.gemm(pooled, hidden, 2, std=hidden**-0.5), output="logits")
        return {"logits": ["batch", 2]}
    graph.scope = "/qa_outputs"
    logits = layers.dense_linear(x, hidden, 2, std=2 * hidden**-0.5)
    for name, tensor in zip(
        ("start_logits", "end_logits"),
        graph.split_node("Split", logits, graph.shape(1, 1), outputs=2, axis=-1),
        strict=True,
    ):
        graph.output_node("Squeeze", tensor, graph.shape(-1), output=name)
    return {"start_logits": ["batch", "sequence"], "end_logits": ["batch", "sequence"]}
