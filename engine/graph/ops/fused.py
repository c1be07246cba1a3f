"""Our own operators: what the passes make of whole groups of nodes. Each becomes one compiled step.

A quantisation is a pair (scale float32, zero_point int); to round x by it is
clip(rint(x / scale) + zero_point, 0, 255), a true division, half to even.
`activation` is a name of ACTIVATIONS, or a tuple of a name and the numbers that it takes.
`store` says how results leave a step: None f32; ("quantized", scale, zero_point) uint8, rounded;
("centred", scale, zero_point) f32 whole numbers, rounded minus zero_point; ("rounded", scale, zero_point) those
times scale.
Weights and tables are constants; `weight_axes` is "km" for w[k, m] and "mk" for w[m, k].

linear(x[..., k], w, bias[m]?, residual[..., m]?)
    activation(x.w + bias + residual), stored.    attrs: weight_axes, activation, store
quantized_linear(xq u8[..., k], w i8 | u8, scale[1 | m], bias_i32[m]?, bias[m]?, residual[..., m]?)
    p = f32(sum of (xq - zero_point)(w - weight_zero) + bias_i32) * scale, the sum exact in int32
    p = (p rounded - zero point) * scale of `product`, unless that is None; a third number of it is that scale
    p = p + bias; rounded and dequantised by `summed`, where it is there
    activation(p + residual), stored.      attrs: as linear, and zero_point, weight_zero, product, summed?
layer_norm(x, gain[k], bias[k]?)
    over the last axis. With `quantize` a pair there is a second output, the rows rounded to uint8;
    with `rounded` the first output is those numbers dequantised again; with `keeps_mean` no mean is taken from x, and
    what x is divided by is its root mean square; with `heads` each of so many equal parts of the last axis by itself, gain
    and bias are those of one.    attrs: epsilon, quantize, rounded, keeps_mean?, heads?
quantize(x), centre(x), rounded(x)
    x rounded to uint8; x rounded, minus zero_point, f32; that times scale.    attrs: scale, zero_point
embedding(ids, table[v, k], residual?)
    rows of the table plus residual; the result has the broadcast shape of both, the residual's own.
    attrs: quantisation (a pair for 8-bit tables: (row - zero_point) * scale; None for f32)
weighted_sum(x[b, s, k], w[b, s, 1])
    x * w summed over s: f32 [b, k]. Where w is 0 the product is 0, whatever x is
gelu(x)
    attrs: approximate ("none" or "tanh"); its row stands with the activations
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.graph.ir import Array, Value
from engine.graph.ops._row import (
    FLOAT32,
    INT8,
    INT32,
    UINT8,
    Attrs,
    DType,
    Inputs,
    Op,
    Shape,
    first_shape,
    fixed_dtype,
    given,
    need,
)
from engine.graph.ops.activation import gelu_erf, gelu_tanh, hard_swish, sigmoid
from engine.graph.ops.normalisation import normalise_rows, root_mean_square_rows
from engine.graph.ops.product import exact_product

Quantisation = tuple[Any, int]

Activation = str | tuple[Any, ...]

ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "gelu": gelu_erf,
    "gelu_tanh": gelu_tanh,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x, slope: x * sigmoid(np.float32(slope) * x),
    "hard_swish": hard_swish,
    "hard_sigmoid": lambda x, slope, offset: np.clip(np.float32(slope) * x + np.float32(offset), 0, 1),
    "leaky_relu": lambda x, slope: np.where(x < 0, np.float32(slope) * x, x),
    "clip": lambda x, low, high: np.minimum(np.float32(high), np.maximum(np.float32(low), x)),
}


def activation_name(activation: Activation) -> str:
    """The activation without its numbers."""
    return activation if isinstance(activation, str) else str(activation[0])


def activated(activation: Activation, y: Array) -> Array:
    """The activation of y."""
    numbers = () if isinstance(activation, str) else activation[1:]
    return ACTIVATIONS[activation_name(activation)](y, *numbers)


def to_eight_bits(x: Array, quantisation: Quantisation) -> Array:
    """clip(rint(x / scale) + zero_point, 0, 255) as uint8; NaN gives 0."""
    scale, zero_point = quantisation
    whole = np.rint(x / np.float32(scale)) + np.float32(zero_point)
    return np.asarray(np.clip(np.nan_to_num(whole, nan=0.0, posinf=255.0, neginf=0.0), 0, 255), np.uint8)


def whole_numbers(x: Array, quantisation: Quantisation) -> Array:
    """to_eight_bits(x) - zero_point as float32."""
    return np.asarray(to_eight_bits(x, quantisation).astype(np.float32) - np.float32(quantisation[1]))


def rounded(x: Array, quantisation: Quantisation) -> Array:
    """x quantised and dequantised again."""
    return np.asarray(whole_numbers(x, quantisation) * np.float32(quantisation[0]))


STORED: dict[str, Callable[[Array, Quantisation], Array]] = {
    "quantized": to_eight_bits,
    "centred": whole_numbers,
    "rounded": rounded,
}


def stored(y: Array, store: tuple[str, Any, int] | None) -> Array:
    """y in the form of attribute `store`."""
    if store is None:
        return np.asarray(y, np.float32)
    return STORED[store[0]](y, store[1:])


def finished(attrs: Attrs, y: Array, bias: Array | None, residual: Array | None) -> tuple[Array, ...]:
    """What follows the product: bias, residual, activation, rounding."""
    if bias is not None:
        y = y + bias
    if residual is not None:
        y = y + residual
    return (stored(activated(attrs["activation"], y), attrs["store"]),)


def columns(attrs: Attrs, w: Array) -> Array:
    """The weights as [k, m]."""
    return w if attrs["weight_axes"] == "km" else w.T


def _linear(
    attrs: Attrs, x: Array, w: Array, bias: Array | None = None, residual: Array | None = None
) -> tuple[Array, ...]:
    return finished(attrs, np.matmul(x, columns(attrs, w)), bias, residual)


def finished_sums(
    attrs: Attrs,
    sums: Array,
    scale: Array,
    bias_i32: Array | None = None,
    bias: Array | None = None,
    residual: Array | None = None,
) -> tuple[Array, ...]:
    """What follows exact integer sums."""
    if bias_i32 is not None:
        sums = sums + bias_i32
    y = sums.astype(np.float32) * scale
    if attrs["product"] is not None:
        step, zero_point, scale = (*attrs["product"], attrs["product"][0])[:3]
        y = whole_numbers(y, (step, zero_point)) * np.float32(scale)
    if attrs.get("summed") is not None:
        y, bias = rounded(y if bias is None else y + bias, attrs["summed"]), None
    return finished(attrs, y, bias, residual)


def _quantized_linear(attrs: Attrs, xq: Array, w: Array, *rest: Any) -> tuple[Array, ...]:
    weights = columns(attrs, w).astype(np.int32) - attrs["weight_zero"]
    return finished_sums(attrs, exact_product(xq.astype(np.int32) - attrs["zero_point"], weights), *rest)


def _layer_norm(attrs: Attrs, x: Array, gain: Array, bias: Array | None = None) -> tuple[Array, ...]:
    parts = x.reshape(*x.shape[:-1], attrs.get("heads", 1), -1)
    if attrs.get("keeps_mean"):
        y = root_mean_square_rows(parts, gain, bias, attrs["epsilon"]).reshape(x.shape)
    else:
        y = normalise_rows(parts, gain, bias, attrs["epsilon"], (-1,)).reshape(x.shape)
    if attrs["quantize"] is None:
        return (y,)
    first = rounded(y, attrs["quantize"]) if attrs["rounded"] else y
    return first, to_eight_bits(y, attrs["quantize"])


def _embedding(attrs: Attrs, ids: Array, table: Array, residual: Array | None = None) -> tuple[Array, ...]:
    rows = np.take(table, ids, axis=0, mode="raise")
    if attrs["quantisation"] is not None:
        scale, zero_point = attrs["quantisation"]
        rows = (rows.astype(np.int32) - zero_point).astype(np.float32) * np.float32(scale)
    return (rows if residual is None else rows + residual,)


def stored_dtype(attrs: Attrs, _inputs: Inputs) -> tuple[DType, ...]:
    """The dtype that attribute `store` gives."""
    return (UINT8 if attrs["store"] is not None and attrs["store"][0] == "quantized" else FLOAT32,)


def is_vector(value: Value | None, dtype: DType, *sizes: int) -> bool:
    """Whether the value is absent, or a constant of one axis and one of these sizes."""
    return value is None or (
        value.array is not None and value.dtype == dtype and len(value.shape) == 1 and value.shape[0] in sizes
    )


def optional_input(inputs: Inputs, index: int) -> Value | None:
    """An input that may be absent."""
    return inputs[index] if index < len(inputs) else None


def linear_shape(attrs: Attrs, inputs: Inputs, biases: tuple[tuple[int, DType], ...], residual: int) -> Shape:
    """The shape of a product's result; `biases` (input, dtype) and the input `residual` are checked."""
    x, w = given(inputs, 0), given(inputs, 1)
    need(activation_name(attrs["activation"]) in ACTIVATIONS, f"no activation {attrs['activation']!r}")
    need(attrs["weight_axes"] in ("km", "mk") and len(w.shape) == 2, "weights are a matrix, km or mk")
    need(w.array is not None, "weights must be constant")
    k, m = w.shape if attrs["weight_axes"] == "km" else w.shape[::-1]
    need(len(x.shape) > 0 and x.shape[-1] == k, f"x {list(x.shape)} does not fit weights of k={k}, m={m}")
    for index, dtype in biases:
        need(
            is_vector(optional_input(inputs, index), dtype, m), f"input {index} must be constant {dtype}[{m}]"
        )
    shape = (*x.shape[:-1], m)
    addend = optional_input(inputs, residual)
    need(
        addend is None or (addend.dtype == FLOAT32 and addend.shape == shape),
        f"residual must be float32{list(shape)}",
    )
    return shape


def _linear_shapes(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    need(given(inputs, 0).dtype == given(inputs, 1).dtype == FLOAT32, "x and w must be float32")
    return (linear_shape(attrs, inputs, ((2, FLOAT32),), 3),)


def _quantized_linear_shapes(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    need(
        given(inputs, 0).dtype == UINT8 and given(inputs, 1).dtype in (INT8, UINT8),
        "x must be uint8, w 8 bits wide",
    )
    shape = linear_shape(attrs, inputs, ((3, INT32), (4, FLOAT32)), 5)
    need(is_vector(given(inputs, 2), FLOAT32, 1, shape[-1]), "scale must be constant float32[1] or [m]")
    return (shape,)


def _layer_norm_dtypes(attrs: Attrs, _inputs: Inputs) -> tuple[DType, ...]:
    return (FLOAT32,) if attrs["quantize"] is None else (FLOAT32, UINT8)


def _layer_norm_shapes(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape = given(inputs, 0).shape
    need(given(inputs, 0).dtype == FLOAT32, "x must be float32")
    heads = attrs.get("heads", 1)
    need(shape[-1] % heads == 0 and (heads == 1 or attrs["quantize"] is None), "heads do not fit")
    for index in (1, 2):
        need(
            is_vector(optional_input(inputs, index), FLOAT32, shape[-1] // heads),
            "gain and bias must be constant float32[k]",
        )
    return (shape,) * (1 if attrs["quantize"] is None else 2)


def _embedding_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    ids, table, residual = given(inputs, 0), given(inputs, 1), optional_input(inputs, 2)
    need(ids.dtype.kind == "i", "ids must be int32 or int64")
    need(table.array is not None and len(table.shape) == 2, "the table must be a constant matrix")
    need(
        (table.dtype == FLOAT32) == (attrs["quantisation"] is None),
        "a float32 table has no quantisation, others have",
    )
    shape = (*ids.shape, table.shape[1])
    if residual is None:
        return (shape,)
    whole = np.broadcast_shapes(shape, residual.shape)
    need(residual.dtype == FLOAT32 and residual.shape == whole, f"residual must be float32{list(whole)}")
    return (whole,)


def _weighted_sum(_attrs: Attrs, x: Array, w: Array) -> tuple[Array, ...]:
    return (np.where(w == 0, np.float32(0), x * w).sum(axis=1, dtype=np.float64).astype(np.float32),)


def _weighted_sum_shape(_attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    x, w = given(inputs, 0), given(inputs, 1)
    need(x.dtype == w.dtype == FLOAT32 and len(x.shape) == 3, "x must be float32 [b, s, k], w float32")
    need(w.shape == (*x.shape[:2], 1), "w must be [b, s, 1]")
    return (x.shape[::2],)


def _quantize(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (to_eight_bits(x, (attrs["scale"], attrs["zero_point"])),)


def _centre(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (whole_numbers(x, (attrs["scale"], attrs["zero_point"])),)


def _rounded(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (rounded(x, (attrs["scale"], attrs["zero_point"])),)


PAIR = frozenset({"scale", "zero_point"})
EPILOGUE = frozenset({"weight_axes", "activation", "store"})

ROWS = (
    Op("centre", _centre, fixed_dtype(FLOAT32), first_shape, elementwise=True, attributes=PAIR),
    Op(
        "embedding",
        _embedding,
        fixed_dtype(FLOAT32),
        _embedding_shape,
        (2, 3),
        attributes=frozenset({"quantisation"}),
    ),
    Op(
        "layer_norm",
        _layer_norm,
        _layer_norm_dtypes,
        _layer_norm_shapes,
        (2, 3),
        attributes=frozenset({"epsilon", "quantize", "rounded"}),
        optional=frozenset({"keeps_mean", "heads"}),
    ),
    Op("linear", _linear, stored_dtype, _linear_shapes, (2, 4), attributes=EPILOGUE),
    Op("quantize", _quantize, fixed_dtype(UINT8), first_shape, elementwise=True, attributes=PAIR),
    Op(
        "quantized_linear",
        _quantized_linear,
        stored_dtype,
        _quantized_linear_shapes,
        (3, 6),
        attributes=EPILOGUE | {"zero_point", "weight_zero", "product"},
        optional=frozenset({"summed"}),
    ),
    Op("rounded", _rounded, fixed_dtype(FLOAT32), first_shape, elementwise=True, attributes=PAIR),
    Op(
        "weighted_sum",
        _weighted_sum,
        fixed_dtype(FLOAT32),
        _weighted_sum_shape,
        (2, 2),
        attributes=frozenset(),
    ),
)
