"""Normalisations and softmax. `axis` is counted from the front."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import (
    FLOAT32,
    Attrs,
    DType,
    Inputs,
    Op,
    Shape,
    first_dtype,
    first_shape,
    given,
    need,
    present,
)


def softmax(x: Array, axis: int) -> Array:
    """exp(x) / sum exp(x) along `axis`; a row that is -inf throughout gives NaN."""
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return np.asarray(powers / np.sum(powers, axis=axis, keepdims=True))


def normalise_rows(x: Array, gain: Array, bias: Array | None, epsilon: float, axes: tuple[int, ...]) -> Array:
    """(x - mean) / sqrt(variance + epsilon) * gain + bias over `axes`. Source: Ba et al. 2016."""
    centred = x - np.mean(x, axis=axes, keepdims=True)
    variance = np.mean(centred * centred, axis=axes, keepdims=True)
    y = centred / np.sqrt(variance + np.asarray(epsilon, x.dtype)) * gain
    return np.asarray(y if bias is None else y + bias, x.dtype)


def root_mean_square_rows(x: Array, gain: Array, bias: Array | None, epsilon: float) -> Array:
    """x / sqrt(mean of x squared + epsilon) * gain + bias over the last axis. Source: Zhang and Sennrich 2019."""
    square = np.mean(x * x, axis=-1, keepdims=True)
    y = x / np.sqrt(square + np.asarray(epsilon, x.dtype)) * gain
    return np.asarray(y if bias is None else y + bias, x.dtype)


def _softmax(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (softmax(x, attrs["axis"]),)


def _log_softmax(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    shifted = x - np.max(x, axis=attrs["axis"], keepdims=True)
    return (shifted - np.log(np.sum(np.exp(shifted), axis=attrs["axis"], keepdims=True)),)


def _layer_normalization(attrs: Attrs, x: Array, gain: Array, bias: Array | None = None) -> tuple[Array, ...]:
    axes = tuple(range(attrs["axis"], x.ndim))
    y = normalise_rows(x, gain, bias, attrs["epsilon"], axes)
    if attrs.get("outputs", 1) == 1:
        return (y,)
    mean = np.mean(x, axis=axes, keepdims=True)
    variance = np.mean((x - mean) ** 2, axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(variance + np.float32(attrs["epsilon"]))
    return (y, mean.astype(np.float32), inverse.astype(np.float32))[: attrs["outputs"]]


def _layer_dtypes(attrs: Attrs, inputs: Inputs) -> tuple[DType, ...]:
    return (given(inputs, 0).dtype, FLOAT32, FLOAT32)[: attrs.get("outputs", 1)]


def _layer_shapes(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape = given(inputs, 0).shape
    for value in present(inputs)[1:]:
        fits = np.broadcast_shapes(value.shape, shape) == shape
        need(fits, f"gain or bias of shape {list(value.shape)} does not fit {list(shape)}")
    rows = shape[: attrs["axis"]] + (1,) * (len(shape) - attrs["axis"])
    return (shape, rows, rows)[: attrs.get("outputs", 1)]


def _channels(array: Array, rank: int) -> Array:
    return array.reshape((1, -1) + (1,) * (rank - 2))


def _by_channel(_attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape = given(inputs, 0).shape
    for value in present(inputs)[1:]:
        fits = value.shape == shape[1:2]
        need(fits, f"a parameter of shape {list(value.shape)} does not fit channels of {list(shape)}")
    return (shape,)


def _batch_normalization(attrs: Attrs, x: Array, *parameters: Array) -> tuple[Array, ...]:
    gain, bias, mean, variance = (_channels(parameter, x.ndim) for parameter in parameters)
    y = (x - mean) / np.sqrt(variance + np.asarray(attrs["epsilon"], x.dtype)) * gain + bias
    return (np.asarray(y, x.dtype),)


def _instance_normalization(attrs: Attrs, x: Array, gain: Array, bias: Array) -> tuple[Array, ...]:
    axes = tuple(range(2, x.ndim))
    return (normalise_rows(x, _channels(gain, x.ndim), _channels(bias, x.ndim), attrs["epsilon"], axes),)


ROWS = (
    Op("BatchNormalization", _batch_normalization, first_dtype, _by_channel, (5, 5)),
    Op("InstanceNormalization", _instance_normalization, first_dtype, _by_channel, (3, 3)),
    Op("LayerNormalization", _layer_normalization, _layer_dtypes, _layer_shapes, (2, 3)),
    Op("LogSoftmax", _log_softmax, first_dtype, first_shape),
    Op("Softmax", _softmax, first_dtype, first_shape),
)
