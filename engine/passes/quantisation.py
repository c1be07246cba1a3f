"""Reading quantisation parameters off nodes: what the rules of two families share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.graph import Array, Node, Value, constant
from engine.graph import node as make
from engine.graph.pattern import first_input, is_op


@dataclass(frozen=True)
class Quantisation:
    """One scale and one zero point for a whole tensor."""

    scale: np.float32
    zero_point: int

    @property
    def pair(self) -> tuple[np.float32, int]:
        """As operators of ours hold it in their attributes."""
        return self.scale, self.zero_point


def per_tensor(node: Node) -> Quantisation | None:
    """Parameters of a rounding or dequantising node that has one scale for all; else None."""
    if node.op in ("quantize", "centre"):
        return Quantisation(node.attrs["scale"], node.attrs["zero_point"])
    if node.op not in ("QuantizeLinear", "DequantizeLinear") or node.attrs.get("block_size"):
        return None
    scale = _single(node.inputs[1])
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    offset = np.zeros((), np.int32) if zero is None else _single(zero)
    if scale is None or offset is None or scale.dtype != np.float32 or not scale > 0:
        return None
    return Quantisation(np.float32(scale), int(offset))


def _single(value: Value | None) -> Array | None:
    array = None if value is None else value.array
    return array.reshape(()) if array is not None and array.size == 1 else None


@dataclass(frozen=True)
class Dequantised:
    """An f32 value that is 8-bit numbers in disguise: (source - zero_point) * scale, source uint8."""

    source: Value
    quantisation: Quantisation


def dequantised(value: Value) -> Dequantised | None:
    """What `value` dequantises, if it does so from uint8 with one scale; else None."""
    if not is_op(value, "DequantizeLinear"):
        return None
    source, quantisation = first_input(value), per_tensor(value.node)
    if quantisation is None or source.dtype != np.uint8 or source.array is not None:
        return None
    return Dequantised(source, quantisation)


def rounding(value: Value) -> tuple[Value, Quantisation] | None:
    """x and parameters, where `value` is x quantised and dequantised with the same ones; else None."""
    found = dequantised(value)
    if found is None or not is_op(found.source, "quantize"):
        return None
    return (
        (first_input(found.source), found.quantisation)
        if per_tensor(found.source.node) == found.quantisation
        else None
    )


def dequantize(source: Value, quantisation: Quantisation, name: str) -> Value:
    """A DequantizeLinear of uint8 values."""
    scale, zero = np.asarray(quantisation.scale), np.asarray(quantisation.zero_point, np.uint8)
    return make("DequantizeLinear", source, constant(scale), constant(zero), name=name, axis=0)[0]


def quantize(x: Value, quantisation: Quantisation, name: str) -> Value:
    """Our quantize of x."""
    return make("quantize", x, name=name, scale=quantisation.scale, zero_point=quantisation.zero_point)[0]


def centre(x: Value, quantisation: Quantisation, name: str) -> Value:
    """Our centre of x."""
    return make("centre", x, name=name, scale=quantisation.scale, zero_point=quantisation.zero_point)[0]
