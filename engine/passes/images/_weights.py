"""The weights of convolutions as the matrices of products: [m, taps * channels], channels next to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from engine.graph import Array, Node, Value, constant, node
from engine.graph.pattern import first_input, is_op

# Graphs bound from one model share constant nodes. So must what is made of them: packed weights are found by the
# identity of the array.
_made: WeakKeyDictionary[Node, dict[Any, Value]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Weights:
    """Constant weights w[m, channels of a group, *kernel], as they are or behind a dequantisation.

    stored   the constant
    step     its DequantizeLinear, or None
    """

    stored: Value
    step: Node | None

    @property
    def array(self) -> Array:
        array = self.stored.array
        if array is None:
            message = f"{self.stored.node!r} is no constant"
            raise TypeError(message)
        return array


def constant_weights(w: Value | None) -> Weights | None:
    """The weights, if they are constant and, where they are dequantised, that is by output or as a whole."""
    if w is None:
        return None
    if w.array is not None:
        return Weights(w, None)
    if not is_op(w, "DequantizeLinear") or w.node.attrs.get("block_size"):
        return None
    stored, parameters = first_input(w), w.node.inputs[1:]
    if stored.array is None or any(value is not None and value.array is None for value in parameters):
        return None
    scale = parameters[0]
    by_output = w.node.attrs["axis"] % len(w.shape) == 0
    if scale is None or scale.array is None or (scale.array.size > 1 and not by_output):
        return None
    return Weights(stored, w.node)


def made_once(source: Value, form: Any, make: Callable[[Array], Array]) -> Value:
    """A constant computed from another, the same for every graph of a model."""
    known = _made.setdefault(source.node, {})
    if form not in known:
        array = source.array
        if array is None:
            message = f"{source.node!r} is no constant"
            raise TypeError(message)
        known[form] = constant(np.ascontiguousarray(make(array)), source.node.name)
    return known[form]


def product_matrix(weights: Weights, groups: int, channels: int, zero_point: int | None) -> Value:
    """The matrix [m, taps * channels] of all groups, zeros where a result does not see a channel.

    channels     of a tap: all groups' channels, or more, which are zeros too
    zero_point   what a zero is stored as; None: as the dequantisation says
    """
    zero = _stored_zero(weights) if zero_point is None else zero_point

    def make(w: Array) -> Array:
        m, own = w.shape[:2]
        last = np.moveaxis(w.reshape(m, own, -1), 1, 2)
        if groups == 1 and own == channels:
            return last.reshape(m, -1)
        full = np.full((m, last.shape[1], channels), zero, w.dtype)
        for group, part in enumerate(np.split(np.arange(m), groups)):
            full[part, :, group * own : (group + 1) * own] = last[part]
        return full.reshape(m, -1)

    return _dequantised(weights, made_once(weights.stored, ("product", groups, channels, zero), make))


def tap_matrix(weights: Weights) -> Value:
    """The matrix [m, taps] of a depthwise convolution."""
    made = made_once(weights.stored, "taps", lambda w: w.reshape(len(w), -1))
    return _dequantised(weights, made)


def _dequantised(weights: Weights, matrix: Value) -> Value:
    step = weights.step
    if step is None:
        return matrix
    attrs = {**step.attrs, "axis": 0}
    return node("DequantizeLinear", matrix, *step.inputs[1:], name=step.name, **attrs)[0]


def _stored_zero(weights: Weights) -> int:
    """What zero is stored as: one number, as anything else is no product of integers later on."""
    zero = None if weights.step is None or len(weights.step.inputs) < 3 else weights.step.inputs[2]
    array = None if zero is None else zero.array
    return 0 if array is None else int(array.reshape(-1)[0])
