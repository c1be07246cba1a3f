"""The second reading of a norm where lowering has found bounds: no quotient leaves an int32, and rows are whole fours.

The bytes are those of `epilogue.quantized`: of correctly rounded quotients, NaN as the least. The inverse of the step
is the sum of two numbers, by which two operations divide (see lowering/quotients.py); saturating packs bound them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.jit import inner
from engine.kernels.norm.tile import bias_of, gain_of, normalised
from engine.kernels.simd.arithmetic import (
    fused_multiply_add,
    maximum,
    minimum,
    splat_f32,
    splat_i32,
    to_float,
)
from engine.kernels.simd.memory import store_f32, store_i32
from engine.kernels.simd.narrow import (
    first_two_rows,
    last_two_rows,
    nearest,
    quads_of_groups,
    quads_of_pixels,
    row_of_lanes,
    rows_of_groups,
)


class _Constants(NamedTuple):
    """What rounds to bytes, in every lane."""

    step: Any
    inverse: Any
    rest: Any
    low: Any
    high: Any
    zero_words: Any


@inner
def _constants_of(t: Any) -> Any:
    low, high = to_float(splat_i32(-t.zero_point)), to_float(splat_i32(255 - t.zero_point))
    inverse, rest = splat_f32(t.inverse), splat_f32(t.inverse_rest)
    return _Constants(splat_f32(t.step), inverse, rest, low, high, splat_i32(t.zero_point * 0x10001))


@inner
def _whole(c: Any, value: Any) -> Any:
    """value / step, rounded."""
    return nearest(fused_multiply_add(value, c.inverse, value * c.rest))


@inner
def _store_value(t: Any, c: Any, value: Any, whole: Any, at: int) -> None:
    if t.rounded != 0:
        value = minimum(maximum(to_float(whole), c.low), c.high) * c.step
    if t.y != 0:
        store_f32(value, t.y + at)


@inner
def _four_rows(t: Any, c: Any, row: int, lane: int, gains: Any, biases: Any) -> Any:
    """Four rows of a vector of lanes: stores the panel, where there is one; their bytes, in groups of four lanes."""
    at0 = row * t.row_bytes + lane
    at1, at2, at3 = at0 + t.row_bytes, at0 + 2 * t.row_bytes, at0 + 3 * t.row_bytes
    v0, v1 = normalised(t, at0, lane, gains[0], biases[0]), normalised(t, at1, lane, gains[1], biases[1])
    v2, v3 = normalised(t, at2, lane, gains[2], biases[2]), normalised(t, at3, lane, gains[3], biases[3])
    w0, w1, w2, w3 = _whole(c, v0), _whole(c, v1), _whole(c, v2), _whole(c, v3)
    _store_value(t, c, v0, w0, at0)
    _store_value(t, c, v1, w1, at1)
    _store_value(t, c, v2, w2, at2)
    _store_value(t, c, v3, w3, at3)
    return quads_of_pixels(w0, w1, w2, w3, c.zero_words, splat_i32(0), splat_i32(-1))


@inner
def _by_fours(t: Any) -> None:
    """Quads; or rows of bytes of panels of 16 and 32 lanes."""
    c = _constants_of(t)
    for row in range(0, t.k, 4):
        gains = gain_of(t, row), gain_of(t, row + 1), gain_of(t, row + 2), gain_of(t, row + 3)
        biases = bias_of(t, row), bias_of(t, row + 1), bias_of(t, row + 2), bias_of(t, row + 3)
        if t.bytes == 0:
            for lane in range(0, t.end, 64):
                quads = quads_of_groups(_four_rows(t, c, row, lane, gains, biases))
                store_i32(quads, t.quads + row // 4 * t.row_bytes + lane)
        elif t.row_bytes == 64:
            store_i32(rows_of_groups(_four_rows(t, c, row, 0, gains, biases)), t.bytes + 16 * row)
        else:
            first = _four_rows(t, c, row, 0, gains, biases)
            second = _four_rows(t, c, row, 64, gains, biases)
            store_i32(first_two_rows(first, second), t.bytes + 32 * row)
            store_i32(last_two_rows(first, second), t.bytes + 32 * row + 64)


@inner
def _row_by_row(t: Any) -> None:
    """Rows of bytes of 64 lanes, in pair order: the four vectors of a row side by side."""
    c = _constants_of(t)
    for row in range(t.k):
        at, gain, bias = row * t.row_bytes, gain_of(t, row), bias_of(t, row)
        v0, v1 = normalised(t, at, 0, gain, bias), normalised(t, at + 64, 64, gain, bias)
        v2, v3 = normalised(t, at + 128, 128, gain, bias), normalised(t, at + 192, 192, gain, bias)
        w0, w1, w2, w3 = _whole(c, v0), _whole(c, v1), _whole(c, v2), _whole(c, v3)
        _store_value(t, c, v0, w0, at)
        _store_value(t, c, v1, w1, at + 64)
        _store_value(t, c, v2, w2, at + 128)
        _store_value(t, c, v3, w3, at + 192)
        store_i32(row_of_lanes(w0, w1, w2, w3, c.zero_words, splat_i32(0), splat_i32(-1)), t.bytes + 64 * row)


@inner
def write_bounded(t: Any) -> None:
    """The panel, where there is one, and the bytes: as rows where the record has a place for them, else as quads."""
    if t.bytes != 0 and t.row_bytes == 256:
        _row_by_row(t)
    else:
        _by_fours(t)
