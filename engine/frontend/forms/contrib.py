"""Activations of ONNX Runtime's own domain, written by its transformer optimiser, and Swish of opset 24."""

from __future__ import annotations

import numpy as np

from engine.frontend.form import Call, Form, Values
from engine.graph import Value


def _biased(call: Call) -> Value:
    x, bias = call.input(0), call.optional(1)
    return x if bias is None else call.emit("Add", x, bias)


def _gelu(call: Call) -> Values | None:
    return (call.emit("Gelu", _biased(call), approximate="none"),)


def _fast_gelu(call: Call) -> Values | None:
    return (call.emit("Gelu", _biased(call), approximate="tanh"),)


def _gated(call: Call, slope: float) -> Values | None:
    """x times the sigmoid of x times attribute `alpha`, which is `slope` where it is absent."""
    x = call.input(0)
    alpha = call.constant(np.asarray(call.attrs.get("alpha", slope), x.dtype))
    return (call.emit("Mul", x, call.emit("Sigmoid", call.emit("Mul", x, alpha))),)


def _quick_gelu(call: Call) -> Values | None:
    return _gated(call, 1.702)


def _swish(call: Call) -> Values | None:
    return _gated(call, 1.0)


FORMS = (
    Form(("Gelu", "BiasGelu"), _gelu, "com.microsoft"),
    Form(("FastGelu",), _fast_gelu, "com.microsoft"),
    Form(("QuickGelu",), _quick_gelu, "com.microsoft"),
    Form(("Swish",), _swish),
)
