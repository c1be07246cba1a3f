"""Sums over the taps of a window in flat rows (see flat.py), from the phases of a channel to results.

x        where the first result lies in phase 0
entry    of the first vector of results: places in y and in the residual, address of its masks; `last` is behind the last
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner
from engine.kernels.convolution.flat_places import ENTRY, TOGETHER
from engine.kernels.simd.arithmetic import fused_multiply_add, maximum, splat_f32
from engine.kernels.simd.arithmetic import minimum as lesser
from engine.kernels.simd.memory import load_f32, read_f32, read_i32, read_i64, read_u16, store_f32
from engine.kernels.simd.neighbours import add_where, one_earlier, one_later


@inner
def _put(d: Any, value: Any, bias: Any, entry: int, y: int, residual: int) -> None:
    value = value + bias
    if d.residual != 0:
        value = value + load_f32(residual + read_i64(entry + 8))
    store_f32(lesser(splat_f32(d.high), maximum(splat_f32(d.low), value)), y + read_i64(entry))


@inner
def _weight(w: int, tap: int) -> Any:
    return splat_f32(read_f32(w + 4 * tap))


@inner
def three_neighbours(
    a: Any, d: Any, x: int, w: int, bias: Any, entry: int, last: int, y: int, residual: int
) -> None:
    """3 x 3 taps: a row's are the vector between two others, and what it becomes one place earlier and later.

    The row's middle is always one of the image, as the result's rows are no longer.
    Two sums each, as a chain of nine would wait for itself.
    """
    w0, w1, w2, w3, w4 = _weight(w, 0), _weight(w, 1), _weight(w, 2), _weight(w, 3), _weight(w, 4)
    w5, w6, w7, w8 = _weight(w, 5), _weight(w, 6), _weight(w, 7), _weight(w, 8)
    r0, r1, r2 = x + read_i32(a.offsets + 4), x + read_i32(a.offsets + 16), x + read_i32(a.offsets + 28)
    p0, p1, p2 = load_f32(r0 - 64), load_f32(r1 - 64), load_f32(r2 - 64)
    c0, c1, c2 = load_f32(r0), load_f32(r1), load_f32(r2)
    while entry < last:
        masks = read_i64(entry + 16)
        left, right = read_u16(masks), read_u16(masks + 4)
        r0, r1, r2 = r0 + 64, r1 + 64, r2 + 64
        n0, n1, n2 = load_f32(r0), load_f32(r1), load_f32(r2)
        s = add_where(splat_f32(np.float32(0)), one_later(p0, c0), w0, left)
        t = c0 * w1
        s = add_where(s, one_earlier(c0, n0), w2, right)
        t = add_where(t, one_later(p1, c1), w3, left)
        s = fused_multiply_add(c1, w4, s)
        t = add_where(t, one_earlier(c1, n1), w5, right)
        s = add_where(s, one_later(p2, c2), w6, left)
        t = fused_multiply_add(c2, w7, t)
        s = add_where(s, one_earlier(c2, n2), w8, right)
        _put(d, s + t, bias, entry, y, residual)
        p0, p1, p2, c0, c1, c2 = c0, c1, c2, n0, n1, n2
        entry += ENTRY


@inner
def three_by_three(
    a: Any, d: Any, x: int, w: int, bias: Any, entry: int, last: int, y: int, residual: int
) -> None:
    """3 x 3 taps, of any strides and dilations."""
    w0, w1, w2, w3, w4 = _weight(w, 0), _weight(w, 1), _weight(w, 2), _weight(w, 3), _weight(w, 4)
    w5, w6, w7, w8 = _weight(w, 5), _weight(w, 6), _weight(w, 7), _weight(w, 8)
    first = read_i32(a.offsets)
    r0, r1, r2 = x + first, x + read_i32(a.offsets + 12), x + read_i32(a.offsets + 24)
    one, two = read_i32(a.offsets + 4) - first, read_i32(a.offsets + 8) - first
    while entry < last:
        masks = read_i64(entry + 16)
        left, middle, right = read_u16(masks), read_u16(masks + 2), read_u16(masks + 4)
        s = add_where(splat_f32(np.float32(0)), load_f32(r0), w0, left)
        t = add_where(splat_f32(np.float32(0)), load_f32(r0 + one), w1, middle)
        s = add_where(s, load_f32(r0 + two), w2, right)
        t = add_where(t, load_f32(r1), w3, left)
        s = add_where(s, load_f32(r1 + one), w4, middle)
        t = add_where(t, load_f32(r1 + two), w5, right)
        s = add_where(s, load_f32(r2), w6, left)
        t = add_where(t, load_f32(r2 + one), w7, middle)
        s = add_where(s, load_f32(r2 + two), w8, right)
        _put(d, s + t, bias, entry, y, residual)
        r0, r1, r2 = r0 + 64, r1 + 64, r2 + 64
        entry += ENTRY


@inner
def any_window(
    a: Any, d: Any, x: int, w: int, bias: Any, entry: int, last: int, y: int, residual: int
) -> None:
    """Any taps: four vectors at once, of which the last may be dropped."""
    zero = splat_f32(np.float32(0))
    while entry < last:
        m0, m1 = read_i64(entry + 16), read_i64(entry + ENTRY + 16)
        m2, m3 = read_i64(entry + 2 * ENTRY + 16), read_i64(entry + 3 * ENTRY + 16)
        s0, s1, s2, s3, tap = zero, zero, zero, zero, 0
        for _ in range(a.taps_down):
            for mask in range(0, 2 * a.taps_across, 2):
                weight, at = _weight(w, tap), x + read_i32(a.offsets + 4 * tap)
                s0 = add_where(s0, load_f32(at), weight, read_u16(m0 + mask))
                s1 = add_where(s1, load_f32(at + 64), weight, read_u16(m1 + mask))
                s2 = add_where(s2, load_f32(at + 128), weight, read_u16(m2 + mask))
                s3 = add_where(s3, load_f32(at + 192), weight, read_u16(m3 + mask))
                tap += 1
        _put(d, s0, bias, entry, y, residual)
        if entry + ENTRY < last:
            _put(d, s1, bias, entry + ENTRY, y, residual)
        if entry + 2 * ENTRY < last:
            _put(d, s2, bias, entry + 2 * ENTRY, y, residual)
        if entry + 3 * ENTRY < last:
            _put(d, s3, bias, entry + 3 * ENTRY, y, residual)
        x += 64 * TOGETHER
        entry += TOGETHER * ENTRY
