"""Activation functions: one operand, sometimes with constants beside it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy

from engine.graph.ir import Array
from engine.graph.ops._row import (
    Attrs,
    DType,
    Inputs,
    Op,
    broadcast_shape,
    first_dtype,
    first_shape,
    need,
    one,
)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(scipy.special.expit(x), x.dtype)


def gelu_erf(x: Array) -> Array:
    """x * (1 + erf(x / sqrt 2)) / 2. Source: Hendrycks and Gimpel 2016."""
    half = np.asarray(0.5, x.dtype)
    return np.asarray(half * x * (1 + scipy.special.erf(x * np.asarray(0.5**0.5, x.dtype))), x.dtype)


def gelu_tanh(x: Array) -> Array:
    """The tanh form of GELU: x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2."""
    inner = np.asarray((2 / np.pi) ** 0.5, x.dtype) * (x + np.asarray(0.044715, x.dtype) * x * x * x)
    return np.asarray(np.asarray(0.5, x.dtype) * x * (1 + np.tanh(inner)), x.dtype)


def _gelu(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (gelu_tanh(x) if attrs.get("approximate") == "tanh" else gelu_erf(x),)


def _gelu_dtype(attrs: Attrs, inputs: Inputs) -> tuple[DType, ...]:
    form = attrs.get("approximate", "none")
    need(form in ("none", "tanh"), f"approximate is {form!r}; it must be none or tanh")
    return first_dtype(attrs, inputs)


def _elu(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (np.where(x < 0, attrs["alpha"] * np.expm1(x), x).astype(x.dtype),)


def _selu(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return ((attrs["gamma"] * np.where(x < 0, attrs["alpha"] * np.expm1(x), x)).astype(x.dtype),)


def _celu(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    alpha = attrs["alpha"]
    return ((np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))).astype(x.dtype),)


def _leaky_relu(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (np.where(x < 0, np.asarray(attrs["alpha"], x.dtype) * x, x),)


def _thresholded_relu(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (np.where(x > attrs["alpha"], x, np.zeros((), x.dtype)),)


def _hard_sigmoid(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (np.clip(attrs["alpha"] * x + attrs["beta"], 0, 1).astype(x.dtype),)


def hard_swish(x: Array) -> Array:
    """x * clip(x / 6 + 1 / 2, 0, 1). Source: Howard et al. 2019."""
    return (x * np.clip(x / 6 + 0.5, 0, 1)).astype(x.dtype)


def _swish(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return ((x * sigmoid(np.asarray(attrs.get("alpha", 1.0) * x, x.dtype))).astype(x.dtype),)


def _clip(x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    y = x if low is None else np.maximum(x, low)
    return np.asarray(y if high is None else np.minimum(y, high))


PLAIN: dict[str, Callable[..., Array]] = {
    "Erf": lambda x: np.asarray(scipy.special.erf(x), x.dtype),
    "HardSwish": hard_swish,
    "Mish": lambda x: np.asarray(x * np.tanh(np.logaddexp(np.zeros((), x.dtype), x)), x.dtype),
    "Relu": lambda x: np.maximum(x, np.zeros((), x.dtype)),
    "Sigmoid": sigmoid,
    "Softplus": lambda x: np.logaddexp(np.zeros((), x.dtype), x),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Tanh": np.tanh,
}
WITH_ATTRIBUTES = {
    "Celu": _celu,
    "Elu": _elu,
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky_relu,
    "Selu": _selu,
    "Swish": _swish,
    "ThresholdedRelu": _thresholded_relu,
}

ROWS = (
    *(Op(name, one(f), first_dtype, first_shape, elementwise=True) for name, f in PLAIN.items()),
    *(Op(name, f, first_dtype, first_shape, elementwise=True) for name, f in WITH_ATTRIBUTES.items()),
    *(Op(name, _gelu, _gelu_dtype, first_shape, elementwise=True) for name in ("Gelu", "gelu")),
    Op("Clip", one(_clip), first_dtype, broadcast_shape, (1, 3), elementwise=True),
    Op(
        "PRelu",
        one(lambda x, slope: np.where(x < 0, slope * x, x)),
        first_dtype,
        broadcast_shape,
        (2, 2),
        elementwise=True,
    ),
)
