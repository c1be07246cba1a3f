"""Products with weights of few bits, dequantised while the file is read: they run as products of float32.

MatMulNBits (com.microsoft), weights w[n, k] in blocks along k, `bits` each, the lowest bits first:

    B            uint8 [n][k / block][block * bits / 8]
    scales       [n][k / block]         zero points: [n][k / block], packed like B a row at a time, or floats
    y = A ((B - zero) scale)T (+ bias)  zero defaults to 2 ** (bits - 1)

Source: onnxruntime's docs/ContribOperators.md.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from engine.frontend.form import Call, Form, Values
from engine.graph import Array, Node, Value

WIDTHS = (2, 4, 8)
BIAS = 5
# Every shape binds the file anew; its weights are dequantised once, and packed once, as long as it is open.
_made: WeakKeyDictionary[Node, dict[tuple[Any, ...], Value]] = WeakKeyDictionary()


def unpacked(packed: Array, bits: int) -> Array:
    """uint8 [..., bytes] as uint8 [..., bytes * 8 / bits], the lowest bits of a byte first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (packed[..., None] >> shifts) & np.uint8(2**bits - 1)
    return np.asarray(parts.reshape(*packed.shape[:-1], -1))


def dequantised(packed: Array, scales: Array, zeros: Array | None, sizes: tuple[int, int, int, int]) -> Array:
    """float32 weights [n, k] of MatMulNBits; sizes: n, k, bits, block."""
    n, k, bits, block = sizes
    blocks = -(-k // block)
    values = unpacked(packed.reshape(n, blocks, -1), bits)[..., :block].astype(np.float32)
    if zeros is None:
        zero = np.full((n, blocks), 2 ** (bits - 1), np.float32)
    elif zeros.dtype == np.uint8:
        zero = unpacked(zeros.reshape(n, -1), bits)[:, :blocks].astype(np.float32)
    else:
        zero = zeros.reshape(n, blocks).astype(np.float32)
    weights = (values - zero[..., None]) * scales.reshape(n, blocks, 1).astype(np.float32)
    return np.ascontiguousarray(weights.reshape(n, -1)[:, :k])


def _weights(call: Call, sizes: tuple[int, int, int, int], dtype: np.dtype[Any]) -> Value | None:
    """The constant [k, n], the same object whenever the same file is bound again; None for weights that are fed."""
    sources = (call.input(1), call.input(2), call.optional(3))
    if any(value is not None and value.array is None for value in sources):
        return None
    made = _made.setdefault(sources[0].node, {})
    key = (*(None if value is None else id(value.node) for value in sources), *sizes, dtype)
    if key not in made:
        packed, scales, zeros = (None if value is None else value.array for value in sources)
        if packed is None or scales is None:
            return None
        made[key] = call.constant(dequantised(packed, scales, zeros, sizes).T.astype(dtype))
    return made[key]


def _product(call: Call) -> Values | None:
    attrs = call.attrs
    sizes = (int(attrs["N"]), int(attrs["K"]), int(attrs.get("bits", 4)), int(attrs["block_size"]))
    a = call.input(0)
    weights = _weights(call, sizes, a.dtype) if sizes[2] in WIDTHS else None
    if weights is None:
        return None
    y = call.emit("MatMul", a, weights)
    bias = call.optional(BIAS)
    return (y if bias is None else call.emit("Add", y, bias),)


FORMS = (Form(("MatMulNBits",), _product, "com.microsoft"),)
