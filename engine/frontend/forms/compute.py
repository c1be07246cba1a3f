"""Operators that compute: axes counted from the front, window parameters written out."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.frontend.form import Call, Form, Values, from_front, need_numbers

Numbers = tuple[int, ...]


def _softmax(call: Call) -> Values | None:
    x, rank = call.input(0), len(call.input(0).shape)
    axis = from_front(call.attrs["axis"], rank)
    if call.operation.version >= 13 or axis == rank - 1:
        return (call.emit(call.operation.op, x, axis=axis),)
    # Below opset 13 everything from `axis` on is one row.
    rows = call.emit("Reshape", x, shape=(int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:]))))
    return (call.emit("Reshape", call.emit(call.operation.op, rows, axis=1), shape=x.shape),)


def _reduce(call: Call) -> Values | None:
    x = call.input(0)
    axes = call.parameter("axes", 1)
    if not axes:
        if call.attrs.get("noop_with_empty_axes"):
            return (
                None
                if call.operation.op not in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
                else (x,)
            )
        axes = tuple(range(len(x.shape)))
    axes = tuple(sorted(from_front(axis, len(x.shape)) for axis in axes)) if x.shape else ()
    return (call.emit(call.operation.op, x, axes=axes, keepdims=call.attrs["keepdims"]),)


def _extreme(call: Call) -> Values | None:
    attrs = {**call.attrs, "axis": from_front(call.attrs["axis"], len(call.input(0).shape))}
    return (call.emit(call.operation.op, call.input(0), **attrs),)


def _layer_normalization(call: Call) -> Values | None:
    x = call.input(0)
    attrs = {"axis": from_front(call.attrs["axis"], len(x.shape)), "epsilon": call.attrs["epsilon"]}
    names = call.operation.outputs
    wanted = max(place for place, name in enumerate(names, 1) if name)
    results = call.emit_all("LayerNormalization", *call.inputs, **attrs, outputs=wanted)
    return tuple(result for name, result in zip(names, results, strict=False) if name)


def _batch_normalization(call: Call) -> Values | None:
    if call.attrs.get("training_mode") or len([name for name in call.operation.outputs if name]) > 1:
        return None
    return (call.emit("BatchNormalization", *call.inputs, epsilon=call.attrs["epsilon"]),)


def _lp_normalization(call: Call) -> Values | None:
    """x over its norm along an axis; 0 where the norm is 0."""
    x, p = call.input(0), call.attrs["p"]
    if p not in (1, 2) or x.dtype != np.float32:
        return None
    norm = call.emit(f"ReduceL{p}", x, axes=(from_front(call.attrs["axis"], len(x.shape)),), keepdims=1)
    nothing, one = (call.constant(np.asarray(number, np.float32)) for number in (0, 1))
    divisor = call.emit("Where", call.emit("Equal", norm, nothing), one, norm)
    return (call.emit("Div", x, divisor),)


def _clip(call: Call) -> Values | None:
    x = call.input(0)
    if call.operation.version >= 11:
        return (call.emit("Clip", *call.inputs),)
    low, high = (call.constant(np.asarray(call.attrs[name], x.dtype)) for name in ("min", "max"))
    return (call.emit("Clip", x, low, high),)


def _need_window(call: Call, kernel: Numbers, strides: Numbers, dilations: Numbers, pads: Numbers) -> None:
    """Raise ValueError unless the window has numbers for every axis of the image."""
    count = len(call.input(0).shape) - 2
    for name, numbers in (("kernel", kernel), ("strides", strides), ("dilations", dilations)):
        need_numbers(name, numbers, count)
        if any(number < 1 for number in numbers):
            message = f"{name} of {list(numbers)} should be at least 1"
            raise ValueError(message)
    need_numbers("pads", pads, 2 * count)


AUTOMATIC_PADDING = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def _window(call: Call, kernel: Numbers) -> dict[str, Any]:
    """Attributes of a sliding window: every number there, automatic padding as explicit pads."""
    attrs = call.attrs
    count = len(kernel)
    strides, dilations = (tuple(attrs.get(name) or (1,) * count) for name in ("strides", "dilations"))
    auto = attrs.get("auto_pad", "NOTSET")
    if auto not in AUTOMATIC_PADDING:
        message = f"auto_pad is {auto!r}; it must be one of {', '.join(AUTOMATIC_PADDING)}"
        raise ValueError(message)
    pads = tuple(attrs.get("pads") or (0,) * (2 * count))
    _need_window(call, kernel, strides, dilations, pads)
    if auto.startswith("SAME"):
        sizes = call.input(0).shape[2:]
        totals = [
            max((-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0)
            for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
        ]
        small = tuple(total // 2 for total in totals)
        large = tuple(total - part for total, part in zip(totals, small, strict=True))
        # UPPER puts the odd one at the end.
        pads = small + large if auto == "SAME_UPPER" else large + small
    elif auto == "VALID":
        pads = (0,) * (2 * count)
    return {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads}


def _conv(call: Call) -> Values | None:
    weights = call.input(3 if call.operation.op == "QLinearConv" else 1)
    window = _window(call, weights.shape[2:])
    return (call.emit(call.operation.op, *call.inputs, **window, group=call.attrs["group"]),)


def pool_attributes(call: Call) -> dict[str, Any]:
    """A pooling's window; whether padding counts, where means are taken."""
    attrs = call.attrs
    window = _window(call, tuple(attrs["kernel_shape"]))
    window["ceil_mode"] = attrs.get("ceil_mode", 0)
    if call.operation.op != "MaxPool":
        window["count_include_pad"] = attrs.get("count_include_pad", 0)
    return window


def _pool(call: Call) -> Values | None:
    if len([name for name in call.operation.outputs if name]) > 1:
        return None
    return (call.emit(call.operation.op, call.input(0), **pool_attributes(call)),)


def _global_pool(call: Call) -> Values | None:
    """A reduction over the axes of the image."""
    op = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}[call.operation.op]
    x = call.input(0)
    return (call.emit(op, x, axes=tuple(range(2, len(x.shape))), keepdims=1),)


CONSTANT_ATTRIBUTES = {
    "value": None,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def _constant(call: Call) -> Values | None:
    for name, dtype in CONSTANT_ATTRIBUTES.items():
        if name in call.attrs:
            return (call.constant(np.asarray(call.attrs[name], dtype)),)
    return None


FORMS = (
    Form(("Constant",), _constant),
    Form(("Softmax", "LogSoftmax"), _softmax),
    Form(
        tuple(
            f"Reduce{kind}"
            for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
        ),
        _reduce,
    ),
    Form(("ArgMax", "ArgMin"), _extreme),
    Form(("LayerNormalization",), _layer_normalization),
    Form(("BatchNormalization",), _batch_normalization),
    Form(("LpNormalization",), _lp_normalization),
    Form(("Clip",), _clip),
    Form(("Conv", "ConvInteger", "QLinearConv"), _conv),
    Form(("AveragePool", "MaxPool"), _pool),
    Form(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
)
