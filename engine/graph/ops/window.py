"""Convolutions and pooling: one sum (or maximum) per tap of the window, to keep memory at the output's size.

`strides`, `dilations` and `kernel_shape` have a number per spatial axis, `pads` the begins, then the ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import (
    INT32,
    Attrs,
    Inputs,
    Op,
    Shape,
    common_dtype,
    first_dtype,
    fixed_dtype,
    given,
    need,
)
from engine.graph.ops.product import centred
from engine.graph.ops.quantization import requantize


def window_sizes(sizes: Shape, kernel: Shape, attrs: Attrs) -> Shape:
    """Output sizes of a window that slides over `sizes`."""
    count = len(sizes)
    pads, strides, dilations = attrs["pads"], attrs["strides"], attrs["dilations"]
    found = []
    for axis, size in enumerate(sizes):
        room = size + pads[axis] + pads[axis + count] - (kernel[axis] - 1) * dilations[axis] - 1
        need(room >= 0, f"a window of {kernel[axis]} does not fit a padded size of {size}")
        steps = room // strides[axis]
        if attrs.get("ceil_mode") and room % strides[axis]:
            steps += 1
            # A window that would start in the end padding is dropped.
            steps -= steps * strides[axis] >= size + pads[axis]
        found.append(steps + 1)
    return tuple(found)


def _padded(x: Array, out: Shape, kernel: Shape, attrs: Attrs, fill: Array) -> Array:
    count = len(out)
    widths = [(0, 0), (0, 0)]
    for axis in range(count):
        reach = (out[axis] - 1) * attrs["strides"][axis] + (kernel[axis] - 1) * attrs["dilations"][axis] + 1
        begin = attrs["pads"][axis]
        end = max(attrs["pads"][axis + count], reach - begin - x.shape[axis + 2])
        widths.append((begin, end))
    return np.pad(x, widths, constant_values=fill) if any(map(any, widths)) else x


def _taps(x: Array, out: Shape, kernel: Shape, attrs: Attrs) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Each position in the window with the view of `x` that it sees."""
    for tap in np.ndindex(kernel):
        starts = [place * dilation for place, dilation in zip(tap, attrs["dilations"], strict=True)]
        spatial = tuple(
            slice(start, start + (size - 1) * stride + 1, stride)
            for start, size, stride in zip(starts, out, attrs["strides"], strict=True)
        )
        yield tap, x[(slice(None), slice(None), *spatial)]


def _convolve(attrs: Attrs, x: Array, w: Array) -> Array:
    group, kernel = attrs["group"], w.shape[2:]
    out = window_sizes(x.shape[2:], kernel, attrs)
    batch, lanes = x.shape[0], int(np.prod(out))
    per_in, per_out = w.shape[1], w.shape[0] // group
    # Each tap's matrix contiguous, or BLAS would not take it.
    by_tap = np.moveaxis(w.reshape(group, per_out, per_in, *kernel), (0, 1, 2), (-3, -2, -1))
    weights = np.ascontiguousarray(by_tap)
    y = np.zeros((batch, group, per_out, lanes), x.dtype)
    for tap, view in _taps(_padded(x, out, kernel, attrs, np.zeros((), x.dtype)), out, kernel, attrs):
        seen = view.reshape(batch, group, per_in, lanes)
        part: Array = weights[tap]
        y += part * seen if per_in == 1 else np.matmul(part, seen)
    return y.reshape(batch, w.shape[0], *out)


def _conv(attrs: Attrs, x: Array, w: Array, bias: Array | None = None) -> tuple[Array, ...]:
    y = _convolve(attrs, x, w)
    return (y if bias is None else y + bias.reshape(1, -1, *(1,) * (x.ndim - 2)),)


def _exact_conv(attrs: Attrs, x: Array, w: Array, x_zero: Array | None, w_zero: Array | None) -> Array:
    """int32 sums; centring before padding makes the padding count as zero. float64 sums are exact."""
    sums = _convolve(
        attrs, centred(x, x_zero, 1).astype(np.float64), centred(w, w_zero, 0).astype(np.float64)
    )
    return sums.astype(np.int64).astype(np.int32)


def _conv_integer(
    attrs: Attrs, x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None
) -> tuple[Array, ...]:
    return (_exact_conv(attrs, x, w, x_zero, w_zero),)


def _quantised_conv(attrs: Attrs, *arrays: Array) -> tuple[Array, ...]:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = arrays[:8]
    sums = _exact_conv(attrs, x, w, x_zero, w_zero)
    per_channel = (1, -1) + (1,) * (x.ndim - 2)
    if len(arrays) > 8:
        sums = sums + arrays[8].reshape(per_channel)
    scale = w_scale.reshape(per_channel) if w_scale.size > 1 else w_scale.reshape(())
    return (requantize(sums, x_scale.reshape(()), scale, y_scale.reshape(()), y_zero.reshape(())),)


def _conv_shape(weight: int) -> Callable[[Attrs, Inputs], tuple[Shape, ...]]:
    def shapes(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
        x, w = given(inputs, 0).shape, given(inputs, weight).shape
        need(len(x) == len(w) and x[1] == w[1] * attrs["group"], f"weights {list(w)} do not fit {list(x)}")
        return ((x[0], w[0], *window_sizes(x[2:], w[2:], attrs)),)

    return shapes


def _max_pool(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    kernel = attrs["kernel_shape"]
    out = window_sizes(x.shape[2:], kernel, attrs)
    lowest = np.asarray(-np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min, x.dtype)
    y = np.full((*x.shape[:2], *out), lowest, x.dtype)
    for _tap, view in _taps(_padded(x, out, kernel, attrs, lowest), out, kernel, attrs):
        np.maximum(y, view, out=y)
    return (y,)


def _average_pool(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    kernel, zero = attrs["kernel_shape"], np.zeros((), x.dtype)
    out = window_sizes(x.shape[2:], kernel, attrs)
    counted = np.ones((1, 1, *x.shape[2:]), x.dtype)
    if attrs.get("count_include_pad"):
        half = len(out)
        counted = np.pad(
            counted,
            [(0, 0), (0, 0), *zip(attrs["pads"][:half], attrs["pads"][half:], strict=True)],
            constant_values=1,
        )
        inner = {**attrs, "pads": (0,) * (2 * half)}
    else:
        inner = dict(attrs)
    sums = sum(view for _tap, view in _taps(_padded(x, out, kernel, attrs, zero), out, kernel, attrs))
    counts = sum(view for _tap, view in _taps(_padded(counted, out, kernel, inner, zero), out, kernel, inner))
    return (np.asarray(sums / counts, x.dtype),)


def _pool_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape = given(inputs, 0).shape
    return ((*shape[:2], *window_sizes(shape[2:], attrs["kernel_shape"], attrs)),)


ROWS = (
    Op("AveragePool", _average_pool, first_dtype, _pool_shape),
    Op("Conv", _conv, common_dtype, _conv_shape(1), (2, 3)),
    Op("ConvInteger", _conv_integer, fixed_dtype(INT32), _conv_shape(1), (2, 4)),
    Op("MaxPool", _max_pool, first_dtype, _pool_shape),
    Op(
        "QLinearConv",
        _quantised_conv,
        lambda _attrs, inputs: (given(inputs, 7).dtype,),
        _conv_shape(3),
        (8, 9),
    ),
)
