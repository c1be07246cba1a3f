"""Quantised operators written out plainly in NumPy, from the operators' texts. Knows nothing of ours.

Rounding is half to even, before the zero point is added; integer sums are exact.
"""

from __future__ import annotations

import numpy as np


def clamp(whole: np.ndarray, dtype: type) -> np.ndarray:
    info = np.iinfo(dtype)
    clipped: np.ndarray = np.clip(whole, info.min, info.max).astype(dtype)
    return clipped


def quantize(x: np.ndarray, scale: float, zero: int, dtype: type = np.uint8) -> np.ndarray:
    quotient = (np.asarray(x, np.float32) / np.float32(scale)).astype(np.float32)
    return clamp(np.rint(quotient).astype(np.float64) + zero, dtype)


def dequantize(q: np.ndarray, scale: np.ndarray | float, zero: int) -> np.ndarray:
    return np.asarray((q.astype(np.int64) - zero).astype(np.float32) * np.asarray(scale, np.float32))


def integer_product(a: np.ndarray, b: np.ndarray, a_zero: int, b_zero: int) -> np.ndarray:
    """Exact sums of (a - a_zero)(b - b_zero), in 64 bits."""
    return np.asarray(np.matmul(a.astype(np.int64) - a_zero, b.astype(np.int64) - b_zero))


def requantize(
    sums: np.ndarray, multiplier: np.ndarray | float, zero: int, dtype: type = np.uint8
) -> np.ndarray:
    scaled = sums.astype(np.float32) * np.asarray(multiplier, np.float32)
    return clamp(np.rint(scaled).astype(np.float64) + zero, dtype)


def integer_conv(x: np.ndarray, w: np.ndarray, x_zero: int, w_zero: int, pad: int) -> np.ndarray:
    """Exact sums of a stride 1 convolution [b,c,y,x] * [o,c,ky,kx]; the padding counts as zero."""
    centred = np.pad(x.astype(np.int64) - x_zero, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    weights = w.astype(np.int64) - w_zero
    high, wide = centred.shape[2] - w.shape[2] + 1, centred.shape[3] - w.shape[3] + 1
    y = np.zeros((x.shape[0], w.shape[0], high, wide), np.int64)
    for row in range(high):
        for column in range(wide):
            seen = centred[:, :, row : row + w.shape[2], column : column + w.shape[3]]
            y[:, :, row, column] = np.tensordot(seen, weights, axes=([1, 2, 3], [1, 2, 3]))
    return y


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def erf_gelu(x: np.ndarray) -> np.ndarray:
    from math import erf

    return np.asarray([0.5 * v * (1 + erf(v / 2**0.5)) for v in x.ravel().tolist()]).reshape(x.shape)


def attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None, heads: int, scale: float
) -> np.ndarray:
    """Multi-head attention over [b, s, heads * d], head by head, in float64."""
    batch, length, width = q.shape
    depth, out_depth = width // heads, v.shape[2] // heads
    y = np.zeros((batch, length, v.shape[2]))
    bias = (
        np.zeros((batch, heads, length, k.shape[1]))
        if mask is None
        else np.broadcast_to(mask, (batch, heads, length, k.shape[1]))
    )
    for item in range(batch):
        for head in range(heads):
            one, two = (
                slice(head * depth, (head + 1) * depth),
                slice(head * out_depth, (head + 1) * out_depth),
            )
            scores = q[item, :, one].astype(np.float64) @ k[item, :, one].astype(np.float64).T
            y[item, :, two] = softmax(scores * scale + bias[item, head]) @ v[item, :, two].astype(np.float64)
    return y
