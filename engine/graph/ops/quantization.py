"""Between floating point and 8-bit integers. Rounding is half to even, before the zero point is added.

Source: the operators' texts in the ONNX documents; where their reference adds the zero point first, the
texts win.
"""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import (
    FLOAT32,
    UINT8,
    Attrs,
    DType,
    Inputs,
    Op,
    Shape,
    given,
    need,
    present,
)


def saturate(x: Array, dtype: DType) -> Array:
    """Whole numbers clipped to the range of `dtype`; NaN gives its lowest number, as in ONNX Runtime."""
    limits = np.iinfo(dtype)
    known = np.nan_to_num(x, nan=limits.min, posinf=np.inf, neginf=-np.inf)
    return np.asarray(np.clip(known, limits.min, limits.max), dtype)


def along_axis(parameter: Array, x: Array, attrs: Attrs) -> Array:
    """A scale or zero point broadcastable against `x`: one number, one per entry of an axis, or per block."""
    if parameter.size == 1 and not attrs.get("block_size"):
        return parameter.reshape(())
    axis = attrs["axis"] % x.ndim
    if attrs.get("block_size"):
        blocks = np.repeat(parameter, attrs["block_size"], axis)
        return blocks[tuple(slice(size) for size in x.shape)]
    return parameter.reshape([-1 if a == axis else 1 for a in range(x.ndim)])


def quantize(x: Array, scale: Array, zero_point: Array, dtype: DType) -> Array:
    """sat(rint(x / scale) + zero_point); a true division."""
    return saturate(np.rint(x / scale) + zero_point.astype(np.float32), dtype)


def requantize(sums: Array, a_scale: Array, b_scale: Array, y_scale: Array, y_zero: Array) -> Array:
    """int32 sums of a product to 8 bits: sat(rint(sums * (a_scale * b_scale / y_scale)) + y_zero)."""
    multiplier = a_scale.astype(np.float32) * b_scale.astype(np.float32) / y_scale.astype(np.float32)
    scaled = sums.astype(np.float32) * multiplier
    return saturate(np.rint(scaled) + y_zero.astype(np.float32), y_zero.dtype)


def _quantize(attrs: Attrs, x: Array, scale: Array, zero_point: Array | None = None) -> tuple[Array, ...]:
    zero = np.zeros((), attrs.get("output_dtype") or np.uint8) if zero_point is None else zero_point
    return (quantize(x, along_axis(scale, x, attrs), along_axis(zero, x, attrs), zero.dtype),)


def _dequantize(attrs: Attrs, x: Array, scale: Array, zero_point: Array | None = None) -> tuple[Array, ...]:
    whole = x.astype(np.int32)
    if zero_point is not None:
        whole = whole - along_axis(zero_point, x, attrs).astype(np.int32)
    return (np.asarray(whole.astype(scale.dtype) * along_axis(scale, x, attrs), scale.dtype),)


def _dynamic_quantize(_attrs: Attrs, x: Array) -> tuple[Array, ...]:
    low = np.minimum(np.min(x, initial=0), 0).astype(np.float32)
    high = np.maximum(np.max(x, initial=0), 0).astype(np.float32)
    scale = np.asarray((high - low) / np.float32(255), np.float32)
    if not scale:
        scale = np.asarray(1, np.float32)
    zero = np.asarray(np.rint(np.clip(-low / scale, 0, 255)), np.uint8)
    return quantize(x, scale, zero, UINT8), scale, zero


def _quantized_dtype(attrs: Attrs, inputs: Inputs) -> tuple[DType, ...]:
    zero = inputs[2] if len(inputs) > 2 else None
    return (np.dtype(attrs.get("output_dtype") or np.uint8) if zero is None else zero.dtype,)


def _scaled_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    """One scale and zero point for all, for each entry of an axis, or for each block of it."""
    shape = given(inputs, 0).shape
    if attrs.get("block_size"):
        return (shape,)
    along = shape[attrs["axis"]] if shape else 1
    for value in present(inputs)[1:]:
        fits = value.shape in ((), (1,), (along,))
        need(
            fits,
            f"a scale or zero point of shape {list(value.shape)} does not fit {along} entries of an axis",
        )
    return (shape,)


def _dynamic_shapes(_attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    return given(inputs, 0).shape, (), ()


ROWS = (
    Op(
        "DequantizeLinear",
        _dequantize,
        lambda _attrs, inputs: (given(inputs, 1).dtype,),
        _scaled_shape,
        (2, 3),
    ),
    Op(
        "DynamicQuantizeLinear",
        _dynamic_quantize,
        lambda _attrs, _inputs: (UINT8, FLOAT32, UINT8),
        _dynamic_shapes,
    ),
    Op("QuantizeLinear", _quantize, _quantized_dtype, _scaled_shape, (2, 3)),
)
