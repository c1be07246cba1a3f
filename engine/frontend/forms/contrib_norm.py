"""Normalisations of ONNX Runtime's own domain, and those that its optimiser writes below the opset that has them.

x, skip ── SkipLayerNormalization(g, b, bias) ── y, sum    =>    x ── Add(bias) ── Add(skip) ── LayerNormalization ── y
ids ── EmbedLayerNormalization ── y                        =>    ids ── Gather ── Add ... ── LayerNormalization ── y
"""

from __future__ import annotations

import numpy as np

from engine.frontend.form import Call, Form, Values, from_front
from engine.graph import Value


def _normalised(call: Call, x: Value, gain: Value, bias: Value | None, axis: int) -> Value:
    epsilon = float(call.attrs.get("epsilon", 1e-12))
    return call.emit("LayerNormalization", x, gain, bias, axis=axis, epsilon=epsilon, outputs=1)


def _root_mean_square(call: Call, x: Value, gain: Value, epsilon: float) -> Value:
    """x / sqrt(mean of x squared over the last axis + epsilon) * gain."""
    axes = (len(x.shape) - 1,)
    mean = call.emit("ReduceMean", call.emit("Mul", x, x), axes=axes, keepdims=1)
    spread = call.emit("Sqrt", call.emit("Add", mean, call.constant(np.asarray(epsilon, x.dtype))))
    return call.emit("Mul", call.emit("Div", x, spread), gain)


def _wanted(call: Call, results: tuple[Value | None, ...]) -> Values | None:
    """Those results that the node names; None where it names one that is not computed."""
    named = [
        result
        for name, result in zip(call.operation.outputs, (*results, None, None, None, None), strict=False)
        if name
    ]
    found = tuple(result for result in named if result is not None)
    return found if len(found) == len(named) else None


def _layer_normalization(call: Call) -> Values | None:
    x = call.input(0)
    axis = from_front(int(call.attrs.get("axis", -1)), len(x.shape))
    epsilon = float(call.attrs.get("epsilon", 1e-5))
    y = call.emit(
        "LayerNormalization",
        x,
        call.input(1),
        call.optional(2),
        axis=axis,
        epsilon=epsilon,
        outputs=1,
    )
    return _wanted(call, (y,))


def _skip_sum(call: Call, bias: Value | None) -> Value:
    x = call.input(0) if bias is None else call.emit("Add", call.input(0), bias)
    return call.emit("Add", x, call.input(1))


def _skip(call: Call) -> Values | None:
    whole = _skip_sum(call, call.optional(4))
    y = _normalised(call, whole, call.input(2), call.optional(3), len(whole.shape) - 1)
    return _wanted(call, (y, None, None, whole))


def _skip_simplified(call: Call) -> Values | None:
    whole = _skip_sum(call, call.optional(3))
    y = _root_mean_square(call, whole, call.input(2), float(call.attrs.get("epsilon", 1e-12)))
    return _wanted(call, (y, None, None, whole))


def _simplified(call: Call) -> Values | None:
    x = call.input(0)
    if from_front(int(call.attrs.get("axis", -1)), len(x.shape)) != len(x.shape) - 1:
        return None
    return _wanted(call, (_root_mean_square(call, x, call.input(1), float(call.attrs.get("epsilon", 1e-5))),))


def _embedded(call: Call) -> Values | None:
    tables = (call.input(2), call.input(3), call.optional(4))
    parameters = (call.input(5), call.optional(6))
    return _sum_of_rows(call, tables, parameters, (call.optional(7), call.optional(8)))


def _embedded_bytes(call: Call) -> Values | None:
    """The same with 8-bit tables, gain and bias: scales are inputs 8 to 12, zero points 13 to 17."""

    def real(place: int) -> Value | None:
        value = call.optional(place)
        if value is None:
            return None
        return call.emit("DequantizeLinear", value, call.input(place + 6), call.optional(place + 11), axis=0)

    words, places, kinds, gain, bias = (real(place) for place in range(2, 7))
    if words is None or places is None or gain is None:
        return None
    return _sum_of_rows(call, (words, places, kinds), (gain, bias), (call.optional(7), None))


def _sum_of_rows(
    call: Call,
    tables: tuple[Value, Value, Value | None],
    parameters: tuple[Value, Value | None],
    extra: tuple[Value | None, Value | None],
) -> Values | None:
    """Word, place and kind added and normalised. extra: the mask, and positions where they are not 0, 1, 2 ..."""
    ids, segments = call.input(0), call.optional(1)
    (words, places, kinds), (gain, bias), (mask, positions) = tables, parameters, extra
    batch, length = ids.shape
    if positions is None:
        positions = call.constant(np.arange(length, dtype=np.int64).reshape(1, length))
    whole = call.emit("Gather", words, ids, axis=0)
    whole = call.emit("Add", whole, call.emit("Gather", places, positions, axis=0))
    if segments is not None and kinds is not None:
        whole = call.emit("Add", whole, call.emit("Gather", kinds, segments, axis=0))
    y = _normalised(call, whole, gain, bias, 2)
    return _wanted(call, (y, _token_counts(call, mask, batch), whole))


def _token_counts(call: Call, mask: Value | None, batch: int) -> Value:
    """[b] int32: how many entries of each row of the mask are 1."""
    if mask is None:
        return call.constant(np.zeros(batch, np.int32))
    ones = call.emit("Equal", mask, call.constant(np.ones((), mask.dtype)))
    return call.emit("ReduceSum", call.emit("Cast", ones, to=np.dtype(np.int32)), axes=(1,), keepdims=0)


FORMS = (
    Form(("LayerNormalization",), _layer_normalization, "com.microsoft"),
    Form(("SimplifiedLayerNormalization",), _simplified, "com.microsoft"),
    Form(("SkipLayerNormalization",), _skip, "com.microsoft"),
    Form(("SkipSimplifiedLayerNormalization",), _skip_simplified, "com.microsoft"),
    Form(("EmbedLayerNormalization",), _embedded, "com.microsoft"),
    Form(("QEmbedLayerNormalization",), _embedded_bytes, "com.microsoft"),
    Form(("RMSNormalization",), _simplified),
)
