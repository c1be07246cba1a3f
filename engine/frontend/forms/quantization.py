"""QuantizeLinear and DequantizeLinear of every opset, with the attributes that matter."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.frontend.form import Call, Form, Values
from engine.frontend.model import numpy_dtype


def _axis(call: Call) -> dict[str, Any]:
    if call.attrs.get("block_size"):
        axis = call.attrs["axis"] % len(call.input(0).shape)
        return {"axis": axis, "block_size": call.attrs["block_size"]}
    # With one scale for all, the axis says nothing, and x may be of any rank.
    whole = not call.input(1).shape or call.input(1).shape == (1,)
    return {"axis": 0 if whole else call.attrs.get("axis", 1) % len(call.input(0).shape)}


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
    if call.input(0).dtype.kind not in "iu" or call.attrs.get("output_dtype"):
        return None
    return (call.emit("DequantizeLinear", call.input(0), call.input(1), call.optional(2), **_axis(call)),)


FORMS = (
    Form(("QuantizeLinear",), quantize_form),
    Form(("DequantizeLinear",), dequantize_form),
)
