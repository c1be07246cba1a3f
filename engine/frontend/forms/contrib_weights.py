"""Products with weights of few bits, as blocks of integers behind a DequantizeLinear: the passes take them from there.

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
ORDER, BIAS = 4, 5
# Every shape binds the file anew; its weights are unpacked once, and packed once, as long as it is open.
_made: WeakKeyDictionary[Node, dict[tuple[Any, ...], tuple[Value, Value, Value]]] = WeakKeyDictionary()


def unpacked(packed: Array, bits: int) -> Array:
    """uint8 [..., bytes] as uint8 [..., bytes * 8 / bits], the lowest bits of a byte first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (packed[..., None] >> shifts) & np.uint8(2**bits - 1)
    return np.asarray(parts.reshape(*packed.shape[:-1], -1))


def blocks_of(
    packed: Array, scales: Array, zeros: Array | None, sizes: tuple[int, int, int, int]
) -> list[Array]:
    """Numbers uint8 [n, k], scales [n, blocks] and zero points [n, blocks], uint8 or floats; sizes: n, k, bits, block."""
    n, k, bits, block = sizes
    blocks = -(-k // block)
    values = unpacked(packed.reshape(n, blocks, -1), bits)[..., :block].reshape(n, -1)[:, :k]
    if zeros is None:
        zero = np.full((n, blocks), 2 ** (bits - 1), np.uint8)
    elif zeros.dtype == np.uint8:
        zero = unpacked(zeros.reshape(n, -1), bits)[:, :blocks]
    else:
        zero = zeros.reshape(n, blocks)
    return [np.ascontiguousarray(part) for part in (values, scales.reshape(n, blocks), zero)]


def _parts(call: Call, sizes: tuple[int, int, int, int]) -> tuple[Value, Value, Value] | None:
    """The constants of `blocks_of`, the same objects at every binding of one file; None for weights that are fed."""
    sources = (call.input(1), call.input(2), call.optional(3))
    packed, scales, zeros = (None if value is None else value.array for value in sources)
    if packed is None or scales is None or (sources[2] is not None and zeros is None):
        return None
    made = _made.setdefault(sources[0].node, {})
    key = (*sources, *sizes)
    if key not in made:
        values, scale, zero = map(call.constant, blocks_of(packed, scales, zeros, sizes))
        made[key] = (values, scale, zero)
    return made[key]


def _weights(call: Call, sizes: tuple[int, int, int, int], dtype: np.dtype[Any]) -> Value | None:
    """The weights [k, n]; a constant where zero points or activations are no numbers that DequantizeLinear takes."""
    parts = _parts(call, sizes)
    if parts is None:
        return None
    values, scale, zero = parts
    if zero.dtype == np.uint8 and scale.dtype == dtype == np.float32:
        rows = call.emit("DequantizeLinear", values, scale, zero, axis=1, block_size=sizes[3])
        return call.emit("Transpose", rows, perm=(1, 0))
    numbers, *others = (value.array for value in parts if value.array is not None)
    factors, offsets = (
        np.repeat(part.astype(np.float32), sizes[3], axis=1)[:, : sizes[1]] for part in others
    )
    made = _made[call.input(1).node]
    key = (*parts, dtype)
    if key not in made:
        whole = call.constant(((numbers - offsets) * factors).T.astype(dtype))
        made[key] = (whole, scale, zero)
    return made[key][0]


def _product(call: Call) -> Values | None:
    attrs = call.attrs
    sizes = (int(attrs["N"]), int(attrs["K"]), int(attrs.get("bits", 4)), int(attrs["block_size"]))
    a = call.input(0)
    if sizes[2] not in WIDTHS or call.optional(ORDER) is not None:
        return None
    weights = _weights(call, sizes, a.dtype)
    if weights is None:
        return None
    y = call.emit("MatMul", a, weights)
    bias = call.optional(BIAS)
    return (y if bias is None else call.emit("Add", y, bias),)


FORMS = (Form(("MatMulNBits",), _product, "com.microsoft"),)
