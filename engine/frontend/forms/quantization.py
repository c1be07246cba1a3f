"""QuantizeLinear and DequantizeLinear of every opset, with the attributes that matter."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from engine.frontend.form import Call, Form, Values, from_front
from engine.frontend.model import numpy_dtype
from engine.graph import Node, Value, constant

_WIDER = {"int4": np.dtype(np.int8), "uint4": np.dtype(np.uint8)}
# Every shape binds the file anew; its weights are widened once, and packed once, as long as it is open.
_wide: WeakKeyDictionary[Node, Value] = WeakKeyDictionary()


def _axis(call: Call) -> dict[str, Any]:
    if call.attrs.get("block_size"):
        axis = from_front(call.attrs["axis"], len(call.input(0).shape))
        return {"axis": axis, "block_size": call.attrs["block_size"]}
    # With one scale for all, the axis says nothing, and x may be of any rank.
    whole = not call.input(1).shape or call.input(1).shape == (1,)
    return {"axis": 0 if whole else from_front(call.attrs.get("axis", 1), len(call.input(0).shape))}


def quantize_form(call: Call) -> Values | None:
    """QuantizeLinear; other targets than integers are left to the reference."""
    if call.attrs.get("precision"):
        return None
    attrs = _axis(call)
    if call.attrs.get("output_dtype"):
        attrs["output_dtype"] = numpy_dtype(call.attrs["output_dtype"])
    values = (call.input(0), call.input(1), call.optional(2))
    zero = values[2]
    target = attrs.get("output_dtype", np.dtype(np.uint8)) if zero is None else zero.dtype
    if target.kind not in "iu" or values[0].dtype != np.float32:
        return None
    return (call.emit("QuantizeLinear", *values, **attrs),)


def dequantize_form(call: Call) -> Values | None:
    """DequantizeLinear of integers."""
    source, zero = _widened(call.input(0)), call.optional(2)
    if source.dtype.kind not in "iu" or call.attrs.get("output_dtype"):
        return None
    zero = None if zero is None else _widened(zero)
    return (call.emit("DequantizeLinear", source, call.input(1), zero, **_axis(call)),)


def _widened(value: Value) -> Value:
    """Constants of four bits as constants of eight, the same object whenever the same file is bound again."""
    wide = _WIDER.get(value.dtype.name)
    if wide is None or value.array is None:
        return value
    if value.node not in _wide:
        _wide[value.node] = constant(value.array.astype(wide), value.node.name)
    return _wide[value.node]


FORMS = (
    Form(("QuantizeLinear",), quantize_form),
    Form(("DequantizeLinear",), dequantize_form),
)
