"""Activations of ONNX Runtime's own domain, written by its transformer optimiser."""

from __future__ import annotations

from engine.frontend.form import Call, Form, Values
from engine.graph import Value


def _biased(call: Call) -> Value:
    x, bias = call.input(0), call.optional(1)
    return x if bias is None else call.emit("Add", x, bias)


def _gelu(call: Call) -> Values | None:
    return (call.emit("Gelu", _biased(call), approximate="none"),)


def _fast_gelu(call: Call) -> Values | None:
    return (call.emit("Gelu", _biased(call), approximate="tanh"),)


def _quick_gelu(call: Call) -> Values | None:
    return (call.emit("Swish", call.input(0), alpha=float(call.attrs.get("alpha", 1.702))),)


FORMS = (
    Form(("Gelu", "BiasGelu"), _gelu, "com.microsoft"),
    Form(("FastGelu",), _fast_gelu, "com.microsoft"),
    Form(("QuickGelu",), _quick_gelu, "com.microsoft"),
)
