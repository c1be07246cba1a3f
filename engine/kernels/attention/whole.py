"""Softmax of whole numbers to bytes: between the products of a quantised attention, where nothing but a factor lies there.

    raw[key][query] int32  ->  e = 2**((raw - greatest) multiplier log2 e)  ->  bytes of e / (step sum e), quads of keys

The greatest is found and subtracted in int32, exactly: a part that all keys of a query share drops out, and what enters
the power is rounded once. A mask that is 0, or so low that no probability is left, needs no number of its own: keys
that it hides get a raw score below all others. Everything else goes the way of `attention.rows`, score by score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import I32, MASK, inner, instruction, ir
from engine.kernels.attention.rows import key_mask
from engine.kernels.simd.arithmetic import (
    MAGIC,
    MAGIC_BITS,
    bits_of,
    minimum,
    splat_f32,
    splat_i32,
    to_float,
)
from engine.kernels.simd.dot import dot_u8s8
from engine.kernels.simd.mathematics import LOG2_E
from engine.kernels.simd.memory import load_f32, load_i32, read_f32, store_f32, store_i32, write_i32
from engine.kernels.simd.narrow import HAS_NARROWING, nearest, quads_of_rows
from engine.kernels.simd.powers import POWER_LOWEST, scaled_power
from engine.kernels.simd.tile import TileOperations

ONES = 0x01010101
# What a mask says, of keys that all are seen, of some that are hidden, and of anything else.
ALL_SEEN, SOME_HIDDEN, OTHER = 0, 1, 2
# A mask this low hides its key (see passes/padding.py).
_HIDDEN = np.float32(-1000)
# The score of a hidden key: far below any sum of products, and far from the end of int32.
UNSEEN = -(1 << 30)
# Where factors and steps lie for which no difference and no quotient leaves an int32.
_MOST_FACTOR, _LEAST_STEP = np.float32(16), np.float32(2.0**-20)
_LEAST_FACTOR = np.float32(2.0**-23)


def _larger_of(b: ir.IRBuilder, x: Any, y: Any) -> Any:
    return b.select(b.icmp_signed(">", x, y), x, y)


_larger = instruction(I32, (I32, I32), _larger_of)
_lanes_of = instruction("i64", (MASK,), lambda b, m: b.zext(b.bitcast(m, ir.IntType(16)), ir.IntType(64)))


def largest_of(tile: TileOperations) -> Callable[..., Any]:
    """The instruction (tile, x): in each lane the largest of x and of all rows, int32."""

    def emit(b: ir.IRBuilder, value: Any, x: Any) -> Any:
        found = [x, *(b.extract_value(value, i) for i in range(tile.rows * tile.vectors))]
        while len(found) > 1:
            pairs = [_larger_of(b, *found[i : i + 2]) for i in range(0, len(found) - 1, 2)]
            found = pairs + found[2 * len(pairs) :]
        return found[0]

    return instruction(I32, (tile.kind, I32), emit)


@inner
def _hidden_by(mask: int, step: int, keys: int) -> int:
    """What the mask of these keys says, one after the other."""
    seen, kind = 0, ALL_SEEN
    for key in range(keys):
        number = read_f32(mask + key * step)
        if number == np.float32(0):
            seen = 1
        elif number <= _HIDDEN:
            kind |= SOME_HIDDEN
        else:
            kind = OTHER | SOME_HIDDEN
    return kind if seen != 0 else OTHER


@inner
def _kind_of(mask: int, step: int, keys: int) -> int:
    if mask == 0:
        return ALL_SEEN
    lanes, whole = 0, 0
    if step == 4:
        whole = keys // 16 * 16
        for key in range(0, whole, 16):
            lanes |= 65535 - _lanes_of(load_f32(mask + 4 * key) == splat_f32(np.float32(0)))
    if lanes == 0 and whole == keys:
        return ALL_SEEN
    return _hidden_by(mask, step, keys)


@inner
def mask_of_keys(a: Any, outer: int, head: int, keys: int) -> int:
    """ALL_SEEN or SOME_HIDDEN if nothing but a factor lies between the products otherwise; else OTHER or more."""
    none, factor = np.float32(0), a.multiplier * LOG2_E
    is_plain = (
        a.score_step == none
        and a.scaled_step == none
        and a.masked_step == none
        and a.mask_query == 0
        and factor >= _LEAST_FACTOR
        and factor <= _MOST_FACTOR
        and a.probability_step >= _LEAST_STEP
    )
    kind = OTHER
    if is_plain:
        mask, step = key_mask(a, outer, head)
        kind = _kind_of(mask, step, keys)
    return kind


@inner
def hide_parts(a: Any, outer: int, head: int, keys: int, kind: int, parts: int) -> None:
    """Let scores that begin with these parts be below all others, of hidden keys and of those beyond the last."""
    if kind == SOME_HIDDEN:
        mask, step = key_mask(a, outer, head)
        for key in range(keys):
            if read_f32(mask + key * step) != np.float32(0):
                write_i32(UNSEEN, parts + 4 * key)
    for key in range(keys, (keys + 15) // 16 * 16):
        write_i32(UNSEEN, parts + 4 * key)


@inner
def hide_scores(a: Any, outer: int, head: int, keys: int, kind: int, scores: int) -> Any:
    """The same of scores that are finished, for whole quads of keys; returns the greatest score of each query."""
    if kind == SOME_HIDDEN:
        mask, step = key_mask(a, outer, head)
        for key in range(keys):
            if read_f32(mask + key * step) != np.float32(0):
                store_i32(splat_i32(UNSEEN), scores + 64 * key)
    for key in range(keys, (keys + 3) // 4 * 4):
        store_i32(splat_i32(UNSEEN), scores + 64 * key)
    greatest = splat_i32(UNSEEN)
    for at in range(scores, scores + 64 * keys, 64):
        greatest = _larger(greatest, load_i32(at))
    return greatest


@inner
def _powers(a: Any, scores: int, keys: int, greatest: Any) -> Any:
    """Replace scores by exp((score - greatest) multiplier), whole quads of keys; returns their sum of each query."""
    factor = a.multiplier * LOG2_E
    scale, lowest = splat_f32(factor), splat_i32(np.int64(POWER_LOWEST / factor))
    total = splat_f32(np.float32(0))
    for at in range(scores, scores + (keys + 3) // 4 * 256, 64):
        e = scaled_power(to_float(_larger(load_i32(at) - greatest, lowest)), scale)
        store_f32(e, at)
        total = total + e
    return total


@inner
def _quad_by_packs(scores: int, scale: Any) -> Any:
    a, b = nearest(load_f32(scores) * scale), nearest(load_f32(scores + 64) * scale)
    c, d = nearest(load_f32(scores + 128) * scale), nearest(load_f32(scores + 192) * scale)
    return quads_of_rows(a, b, c, d, splat_i32(0), splat_i32(0), splat_i32(-1))


@inner
def _byte(x: Any) -> Any:
    return bits_of(minimum(x, splat_f32(np.float32(255))) + splat_f32(MAGIC)) - splat_i32(MAGIC_BITS)


@inner
def _quad_by_shifts(scores: int, scale: Any) -> Any:
    a, b = _byte(load_f32(scores) * scale), _byte(load_f32(scores + 64) * scale)
    c, d = _byte(load_f32(scores + 128) * scale), _byte(load_f32(scores + 192) * scale)
    return a | (b << splat_i32(8)) | (c << splat_i32(16)) | (d << splat_i32(24))


_quad_of = _quad_by_packs if HAS_NARROWING else _quad_by_shifts


@inner
def _probabilities(a: Any, scores: int, keys: int, total: Any, probabilities: int) -> Any:
    """Exponentials to quads of bytes, four keys each; returns the bytes' sum of each query."""
    scale = splat_f32(np.float32(1)) / (total * splat_f32(a.probability_step))
    ones, whole = splat_i32(ONES), splat_i32(0)
    for block in range(0, keys, 4):
        quad = _quad_of(scores + 64 * block, scale)
        store_i32(quad, probabilities + 16 * block)
        whole = dot_u8s8(whole, quad, ones)
    return whole


@inner
def softmax_of_whole(a: Any, scores: int, keys: int, greatest: Any, probabilities: int) -> Any:
    """Raw scores to quads of probabilities; returns their sum of each query."""
    total = _powers(a, scores, keys, greatest)
    return _probabilities(a, scores, keys, total, probabilities)
