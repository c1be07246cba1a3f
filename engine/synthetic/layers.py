"""Layers as an exporter writes them, each in the form that the recipe asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from engine.synthetic.builder import F32, GraphBuilder, Recipe
from engine.synthetic.quantise import Quantiser
from engine.synthetic.weights import prune, quantise_symmetric, short_scale


@dataclass(frozen=True, slots=True)
class Convolution:
    """Sizes of one convolution; `padding` None keeps the size of the image at stride 1.

    gain        scale of the batch norm's gains: small in the last layer of a residual branch
    batch_norm  False: a bare convolution with bias, as detection heads have
    pruned      False: dense in every model, as stems and heads are
    """

    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    padding: int | None = None
    groups: int = 1
    gain: float = 1.0
    batch_norm: bool = True
    pruned: bool = True


class Layers:
    """The layers of one graph: the builder, and the scales that its activations have got."""

    def __init__(self, recipe: Recipe) -> None:
        self.graph = GraphBuilder(recipe)
        self.quantiser = Quantiser(self.graph)
        self.form = recipe.form
        self._convolutions = 0

    def _pruned(self, weight: F32, input_axis: int) -> F32:
        spec = self.graph.spec
        return prune(weight, spec.percent / 100, spec.block, input_axis)

    def linear(self, x: str, inputs: int, outputs: int, *, std: float) -> str:
        """A pruned product with bias over the last axis."""
        graph = self.graph
        weight = self._pruned(graph.random(inputs, outputs, std=std), 0)
        bias = graph.random(outputs, std=0.05)
        if self.form == "int":
            return self._integer_linear(x, weight, bias)
        return self._product(x, weight, bias)

    def dense_linear(self, x: str, inputs: int, outputs: int, *, std: float) -> str:
        """A product that stays dense, and f32 in the form int: the answer head."""
        weight = self.graph.random(inputs, outputs, std=std)
        return self._product(x, weight, self.graph.random(outputs, std=0.05))

    def _product(self, x: str, weight: F32, bias: F32) -> str:
        graph, quantiser = self.graph, self.quantiser
        product = graph.node("MatMul", quantiser.activation(x), quantiser.weight(weight, 1).tensor)
        return graph.node("Add", graph.initialiser(bias), product)

    def _integer_linear(self, x: str, weight: F32, bias: F32) -> str:
        graph = self.graph
        activation = self.quantiser.quantised(x)
        weight_scale = short_scale(np.abs(weight).max() / 127)
        dtype, zero_point = (np.int8, 0) if graph.spec.signed_weights else (np.uint8, 128)
        product = graph.node(
            "MatMulInteger",
            activation.tensor,
            graph.initialiser((quantise_symmetric(weight, weight_scale) + zero_point).astype(dtype)),
            activation.zero_point,
            graph.initialiser(dtype(zero_point)),
        )
        scale = np.float32(self.quantiser.scale(x) * weight_scale)
        total = graph.node("Add", product, graph.initialiser(np.rint(bias / scale).astype(np.int32)))
        return graph.node("Mul", graph.node("Cast", total, to=TensorProto.FLOAT), graph.initialiser(scale))

    def gemm(self, x: str, inputs: int, outputs: int, *, std: float) -> str:
        """A dense Gemm over rows, weight [outputs, inputs]."""
        graph, quantiser = self.graph, self.quantiser
        weight, bias = graph.random(outputs, inputs, std=std), graph.random(outputs, std=0.05)
        activation = quantiser.activation(x)
        stored = quantiser.weight(weight, 0)
        return graph.node("Gemm", activation, stored.tensor, quantiser.bias(bias, x, stored), transB=1)

    def activation_product(self, a: str, b: str) -> str:
        """A product of two activations."""
        graph, quantiser = self.graph, self.quantiser
        if self.form != "int":
            return graph.node("MatMul", quantiser.activation(a), quantiser.activation(b))
        left, right = quantiser.quantised(a), quantiser.quantised(b)
        product = graph.node("MatMulInteger", left.tensor, right.tensor, left.zero_point, right.zero_point)
        scale = np.float32(quantiser.scale(a) * quantiser.scale(b))
        return graph.node("Mul", graph.node("Cast", product, to=TensorProto.FLOAT), graph.initialiser(scale))

    def layer_norm(self, x: str, features: int, epsilon: float = 1e-12) -> str:
        """Normalise the last axis."""
        graph = self.graph
        gain = graph.initialiser(graph.random(features, std=0.1, mean=1.0))
        bias = graph.initialiser(graph.random(features, std=0.05))
        if graph.spec.layer_norm_op:
            return graph.node("LayerNormalization", x, gain, bias, axis=-1, epsilon=epsilon)
        centred = graph.node("Sub", x, graph.node("ReduceMean", x, axes=[-1]))
        squares = graph.node("Pow", centred, graph.scalar(2))
        variance = graph.node("ReduceMean", squares, axes=[-1])
        deviation = graph.node("Sqrt", graph.node("Add", variance, graph.scalar(epsilon)))
        scaled = graph.node("Mul", graph.node("Div", centred, deviation), gain)
        return graph.node("Add", scaled, bias)

    def gelu(self, x: str) -> str:
        """x * (erf(x / sqrt 2) + 1) / 2."""
        graph = self.graph
        erf = graph.node("Erf", graph.node("Div", x, graph.scalar(2**0.5)))
        product = graph.node("Mul", x, graph.node("Add", erf, graph.scalar(1)))
        return graph.node("Mul", product, graph.scalar(0.5))

    def silu(self, x: str) -> str:
        """x * sigmoid(x)."""
        return self.graph.node("Mul", x, self.graph.node("Sigmoid", x))

    def relu(self, x: str) -> str:
        return self.graph.node("Relu", x)

    def relu6(self, x: str) -> str:
        graph = self.graph
        return graph.node("Clip", x, graph.scalar(0), graph.scalar(6))

    def convolution(self, x: str, sizes: Convolution) -> str:
        """A convolution with its batch norm: folded, kept as a node, or measured, as recipe and spec say."""
        graph = self.graph
        kernel, inputs = sizes.kernel, sizes.inputs // sizes.groups
        weight = graph.random(
            sizes.outputs, inputs, kernel, kernel, std=(2.0 / (inputs * kernel * kernel)) ** 0.5
        )
        if sizes.pruned and sizes.groups == 1:
            channels_last = self._pruned(np.ascontiguousarray(weight.transpose(0, 2, 3, 1)), 3)
            weight = np.ascontiguousarray(channels_last.transpose(0, 3, 1, 2))
        gain = graph.random(sizes.outputs, std=0.1, mean=1.0) * np.float32(sizes.gain)
        bias = graph.random(sizes.outputs, std=0.1)
        index = self._convolutions
        self._convolutions += 1
        if self.form == "statistics":
            return self._measured(x, sizes, weight, gain, bias)
        mean, variance = graph.recipe.statistics[index]
        return self._normalised(x, sizes, weight, (gain, bias, mean, variance))

    def _normalised(self, x: str, sizes: Convolution, weight: F32, norm: tuple[F32, F32, F32, F32]) -> str:
        graph, quantiser = self.graph, self.quantiser
        gain, bias, mean, variance = norm
        activation = quantiser.activation(x)
        if sizes.batch_norm and graph.spec.batch_norm:
            stored = quantiser.weight(weight, 0)
            y = graph.node("Conv", activation, stored.tensor, **_attributes(sizes))
            parameters = [graph.initialiser(array) for array in norm]
            return graph.node("BatchNormalization", y, *parameters, epsilon=1e-5)
        if sizes.batch_norm:
            factor = gain / np.sqrt(variance + np.float32(1e-5))
            weight, bias = weight * factor.reshape(-1, 1, 1, 1), bias - mean * factor
        stored = quantiser.weight(weight, 0)
        return graph.node(
            "Conv", activation, stored.tensor, quantiser.bias(bias, x, stored), **_attributes(sizes)
        )

    def _measured(self, x: str, sizes: Convolution, weight: F32, gain: F32, bias: F32) -> str:
        """The convolution with a batch norm over the images at hand."""
        graph = self.graph
        y = graph.node("Conv", x, graph.initialiser(weight), **_attributes(sizes))
        mean = graph.node("ReduceMean", y, axes=[0, 2, 3])
        centred = graph.node("Sub", y, mean)
        variance = graph.node("ReduceMean", graph.node("Mul", centred, centred), axes=[0, 2, 3])
        graph.measured += [mean, variance]
        if not sizes.batch_norm:
            return y
        deviation = graph.node("Sqrt", graph.node("Add", variance, graph.scalar(1e-5)))
        scaled = graph.node(
            "Mul", graph.node("Div", centred, deviation), graph.initialiser(gain.reshape(1, -1, 1, 1))
        )
        return graph.node("Add", scaled, graph.initialiser(bias.reshape(1, -1, 1, 1)))


def _attributes(sizes: Convolution) -> dict[str, int | list[int]]:
    padding = sizes.kernel // 2 if sizes.padding is None else sizes.padding
    return {
        "kernel_shape": [sizes.kernel] * 2,
        "strides": [sizes.stride] * 2,
        "pads": [padding] * 4,
        "dilations": [1, 1],
        "group": sizes.groups,
    }
