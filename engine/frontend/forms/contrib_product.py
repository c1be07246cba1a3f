"""Products of ONNX Runtime's own domain: what its optimiser made of a MatMul or Gemm and its neighbours."""

from __future__ import annotations

import numpy as np

from engine.frontend.form import Call, Form, Values
from engine.graph import Value

FLOAT32 = np.dtype(np.float32)
ACTIVATIONS = frozenset({"Relu", "Sigmoid", "Tanh"})


def _fused_matmul(call: Call) -> Values | None:
    attrs = call.attrs
    if attrs.get("transBatchA") or attrs.get("transBatchB"):
        return None
    a = _swapped(call, call.input(0)) if attrs.get("transA") else call.input(0)
    b = _swapped(call, call.input(1)) if attrs.get("transB") else call.input(1)
    y, alpha = call.emit("MatMul", a, b), float(attrs.get("alpha", 1.0))
    return (y if alpha == 1 else call.emit("Mul", y, call.constant(np.asarray(alpha, y.dtype))),)


def _swapped(call: Call, x: Value) -> Value:
    rank = len(x.shape)
    return x if rank < 2 else call.emit("Transpose", x, perm=(*range(rank - 2), rank - 1, rank - 2))


def _fused_gemm(call: Call) -> Values | None:
    attrs = call.attrs
    activation = attrs.get("activation", "")
    if activation and activation not in ACTIVATIONS:
        return None
    parameters = {
        "alpha": float(attrs.get("alpha", 1.0)),
        "beta": float(attrs.get("beta", 1.0)),
        "transA": int(attrs.get("transA", 0)),
        "transB": int(attrs.get("transB", 0)),
    }
    y = call.emit("Gemm", *call.inputs, **parameters)
    return (call.emit(activation, y) if activation else y,)


def _dynamic_product(call: Call) -> Values | None:
    xq, scale, zero = call.emit_all("DynamicQuantizeLinear", call.input(0))
    parameters = (call.input(1), call.input(2), call.optional(3))
    return (scaled_product(call, (xq, scale, zero), parameters, call.optional(4)),)


def _integer_product(call: Call) -> Values | None:
    left = (call.input(0), call.input(2), call.optional(4))
    return (scaled_product(call, left, (call.input(1), call.input(3), call.optional(5)), call.optional(6)),)


def scaled_product(
    call: Call,
    left: tuple[Value, Value, Value | None],
    right: tuple[Value, Value, Value | None],
    bias: Value | None,
) -> Value:
    """f32 of the exact product of two (values, scale, zero point), times both scales, plus the bias."""
    sums = call.emit("MatMulInteger", left[0], right[0], left[2], right[2])
    scale = call.emit("Mul", left[1], right[1])
    y = call.emit("Mul", call.emit("Cast", sums, to=FLOAT32), scale)
    return y if bias is None else call.emit("Add", y, bias)


FORMS = (
    Form(("FusedMatMul", "TransposeMatMul"), _fused_matmul, "com.microsoft"),
    Form(("FusedGemm",), _fused_gemm, "com.microsoft"),
    Form(("DynamicQuantizeMatMul",), _dynamic_product, "com.microsoft"),
    Form(("MatMulIntegerToFloat",), _integer_product, "com.microsoft"),
)
