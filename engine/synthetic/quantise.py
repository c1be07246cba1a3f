"""The quantised forms: what stands around an activation, a weight and a bias.

    qdq   x ─ QuantizeLinear ─ DequantizeLinear ─┐
          w (s8) ─────────────  DequantizeLinear ┴─ MatMul | Conv | Gemm
    int   x ─ QuantizeLinear ─┐
          w (u8 or s8) ───────┴─ MatMulInteger ─ Add(int32) ─ Cast ─ Mul(scale)

An activation is quantised once, however many operators read it. The f32 form only notes, in order of first
use, which activations the others will quantise: that is the list a calibration run measures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.synthetic.builder import F32, Array, GraphBuilder
from engine.synthetic.weights import quantise_symmetric, short_scale


@dataclass(frozen=True, slots=True)
class QuantisedActivation:
    """Names of the uint8 tensor and of its scale and zero point."""

    tensor: str
    scale: str
    zero_point: str


@dataclass(frozen=True, slots=True)
class Weight:
    """Name of a weight as an operator reads it, and its scale where it has one."""

    tensor: str
    scale: Array | None = None


class Quantiser:
    """Scales of activations, handed out in order of first use.

    points   names of the tensors that got a scale, in that order
    """

    def __init__(self, graph: GraphBuilder) -> None:
        self._graph = graph
        self._form = graph.recipe.form
        self._scales: dict[str, tuple[np.float32, np.uint8]] = {}
        self._quantised: dict[str, QuantisedActivation] = {}
        self._dequantised: dict[str, str] = {}

    @property
    def points(self) -> list[str]:
        return list(self._scales)

    def scale(self, tensor: str) -> np.float32:
        """The scale of an activation."""
        return self._point(tensor)[0]

    def _point(self, tensor: str) -> tuple[np.float32, np.uint8]:
        if tensor not in self._scales:
            ranges = self._graph.recipe.ranges
            least, largest = ranges[len(self._scales)] if ranges else (0.0, 1.0)
            least, largest = min(least, 0.0), max(largest, 0.0)
            scale = short_scale(max(largest - least, 1e-6) / 255)
            zero_point = np.uint8(np.clip(round(-least / float(scale)), 0, 255))
            self._scales[tensor] = scale, zero_point
        return self._scales[tensor]

    def quantised(self, tensor: str) -> QuantisedActivation:
        """An activation as uint8."""
        if tensor not in self._quantised:
            graph, (scale, zero_point) = self._graph, self._point(tensor)
            names = (
                graph.initialiser(scale, f"{tensor}_scale"),
                graph.initialiser(zero_point, f"{tensor}_zero_point"),
            )
            self._quantised[tensor] = QuantisedActivation(
                graph.node("QuantizeLinear", tensor, *names), *names
            )
        return self._quantised[tensor]

    def activation(self, tensor: str) -> str:
        """An activation about to enter an operator that a quantised model computes in integers."""
        if self._form == "f32":
            self._point(tensor)
        if self._form != "qdq":
            return tensor
        if tensor not in self._dequantised:
            q = self.quantised(tensor)
            self._dequantised[tensor] = self._graph.node("DequantizeLinear", q.tensor, q.scale, q.zero_point)
        return self._dequantised[tensor]

    def weight(self, weight: F32, output_axis: int) -> Weight:
        """A weight in the model's form; int has a form of its own and keeps all others as f32."""
        graph, spec = self._graph, self._graph.spec
        if self._form != "qdq":
            return Weight(graph.initialiser(weight))
        others = tuple(axis for axis in range(weight.ndim) if axis != output_axis)
        largest = np.abs(weight).max(axis=others if spec.per_channel else None)
        scale = np.maximum(largest / 127, 1e-8).astype(np.float32)
        parameters = graph.initialiser(scale), graph.initialiser(np.zeros(scale.shape, np.int8))
        axis = {"axis": output_axis} if spec.per_channel else {}
        if spec.quantize_weights:
            quantised = graph.node("QuantizeLinear", graph.initialiser(weight), *parameters, **axis)
            return Weight(graph.node("DequantizeLinear", quantised, *parameters, **axis))
        whole = quantise_symmetric(weight, np.expand_dims(scale, others) if scale.ndim else scale)
        stored = graph.initialiser(whole.astype(np.int8))
        return Weight(graph.node("DequantizeLinear", stored, *parameters, **axis), scale)

    def bias(self, bias: F32, tensor: str, weight: Weight) -> str:
        """The bias of a convolution or Gemm that reads activation `tensor`."""
        graph = self._graph
        if not graph.spec.integer_bias or weight.scale is None:
            return graph.initialiser(bias)
        scale = (self.scale(tensor) * weight.scale).astype(np.float32)
        axis = {"axis": 0} if scale.ndim else {}
        whole = np.rint(bias / scale).astype(np.int32)
        return graph.node(
            "DequantizeLinear",
            graph.initialiser(whole),
            graph.initialiser(scale),
            graph.initialiser(np.zeros(scale.shape, np.int32)),
            **axis,
        )
