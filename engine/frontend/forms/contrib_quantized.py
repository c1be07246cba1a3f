"""Operators of ONNX Runtime's own domain that read and write 8-bit numbers, as what they stand for.

    a, b ── QLinearAdd ── y    =>    a ── DequantizeLinear ──┐
                                     b ── DequantizeLinear ── Add ── QuantizeLinear ── y

Its kernels of QLinearAdd and QLinearMul add the zero point before they round, so where it is odd exact ties fall to
the other side; here all roundings are QuantizeLinear's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.frontend.form import Call, Form, Values, from_front
from engine.frontend.forms.compute import pool_attributes
from engine.frontend.forms.quantization import dequantize_form, quantize_form
from engine.graph import Value

CONTRIB = "com.microsoft"


def _real(call: Call, place: int, axis: int = 0) -> Value:
    """Inputs `place` (values), the next (scale) and the one after it (zero point), dequantised."""
    return call.emit(
        "DequantizeLinear", call.input(place), call.input(place + 1), call.optional(place + 2), axis=axis
    )


def _zero(call: Call, place: int, dtype: np.dtype) -> Value:
    zero = call.optional(place)
    return call.constant(np.zeros((), dtype)) if zero is None else zero


def _rounded(call: Call, y: Value, place: int, dtype: np.dtype) -> Value:
    """y quantised by inputs `place` (scale) and the next (zero point)."""
    return call.emit("QuantizeLinear", y, call.input(place), _zero(call, place + 1, dtype), axis=0)


def _binary(op: str) -> Callable[[Call], Values | None]:
    def translate(call: Call) -> Values | None:
        y = call.emit(op, _real(call, 0), _real(call, 3))
        return (_rounded(call, y, 6, call.input(0).dtype),)

    return translate


def _unary(op: str) -> Callable[[Call], Values | None]:
    def translate(call: Call) -> Values | None:
        y = call.emit(op, _real(call, 0))
        return (_rounded(call, y, 3, call.input(0).dtype),)

    return translate


def _softmax(call: Call) -> Values | None:
    x = _real(call, 0)
    axis = from_front(int(call.attrs.get("axis", -1)), len(x.shape))
    if int(call.attrs.get("opset", 13)) < 13 and axis != len(x.shape) - 1:
        return None
    return (_rounded(call, call.emit("Softmax", x, axis=axis), 3, call.input(0).dtype),)


def _concat(call: Call) -> Values | None:
    parts = [_real(call, place) for place in range(2, len(call.inputs), 3)]
    axis = from_front(int(call.attrs["axis"]), len(parts[0].shape))
    y = call.emit("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]
    return (_rounded(call, y, 0, call.input(2).dtype),)


def _average(call: Call) -> Values | None:
    """Means of whole images, or of windows, between a dequantisation and a rounding."""
    if call.attrs.get("channels_last"):
        return None
    x = _real(call, 0)
    if call.operation.op == "QLinearGlobalAveragePool":
        y = call.emit("ReduceMean", x, axes=tuple(range(2, len(x.shape))), keepdims=1)
    else:
        y = call.emit("AveragePool", x, **pool_attributes(call))
    return (_rounded(call, y, 3, call.input(0).dtype),)


def _gemm(call: Call) -> Values | None:
    attrs = call.attrs
    if float(attrs.get("alpha", 1.0)) != 1:
        return None
    transposed = int(attrs.get("transB", 0))
    a, b, c = _real(call, 0), _real(call, 3, axis=0 if transposed else 1), call.optional(6)
    if c is not None:
        scale = call.emit("Mul", call.input(1), call.input(4))
        wide = scale if len(scale.shape) < 2 else call.emit("Reshape", scale, shape=(scale.shape[-1],))
        c = call.emit("DequantizeLinear", c, wide, None, axis=len(c.shape) - 1)
    parameters = {"alpha": 1.0, "beta": 1.0, "transA": int(attrs.get("transA", 0)), "transB": transposed}
    y = call.emit("Gemm", a, b, c, **parameters)
    return (y,) if call.optional(7) is None else (_rounded(call, y, 7, call.input(0).dtype),)


def _matmul(call: Call) -> Values | None:
    """A product of two activations; one with constant weights stays the operator that rounds once."""
    signed = call.input(0).dtype != np.uint8 or call.input(7).dtype != np.uint8
    if call.input(3).array is not None and not signed:
        return (call.emit("QLinearMatMul", *call.inputs),)
    rank = len(call.input(3).shape)
    y = call.emit("MatMul", _real(call, 0), _real(call, 3, axis=rank - 1))
    return (_rounded(call, y, 6, call.input(7).dtype),)


FORMS = (
    Form(("QLinearAdd",), _binary("Add"), CONTRIB),
    Form(("QLinearMul",), _binary("Mul"), CONTRIB),
    Form(("QLinearSigmoid",), _unary("Sigmoid"), CONTRIB),
    Form(("QLinearSoftmax",), _softmax, CONTRIB),
    Form(("QLinearConcat",), _concat, CONTRIB),
    Form(("QLinearAveragePool", "QLinearGlobalAveragePool"), _average, CONTRIB),
    Form(("QGemm",), _gemm, CONTRIB),
    Form(("QLinearMatMul",), _matmul),
    Form(("QuantizeLinear",), quantize_form, CONTRIB),
    Form(("DequantizeLinear",), dequantize_form, CONTRIB),
)
