"""What attention of bytes does with a head between its products and behind them, on tiles or not.

raw scores int32 [key][query], with the parts of their keys -> probabilities u8 quads -> context float32 [depth][query]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.jit import inner
from engine.kernels.attention.rows import (
    add_mask_of_queries,
    exponentials,
    key_mask,
    keys_of,
    lane_address,
    scaled,
)
from engine.kernels.attention.whole import ONES, OTHER, hide_scores, mask_of_keys, softmax_of_whole
from engine.kernels.products.epilogue import quantized
from engine.kernels.simd.arithmetic import least, maximum, splat_f32, splat_i32, to_float
from engine.kernels.simd.dot import dot_u8s8
from engine.kernels.simd.memory import load_f32, load_i32, store_f32, store_i32

SIGNS = 0x80808080


@inner
def signed_queries(a: Any, q: int, queries: int) -> Any:
    """Copy sixteen queries as q - 128; returns sum_d (q - q_zero) of each."""
    ones = splat_i32(ONES)
    total = splat_i32(a.depth * (128 - a.q_zero))
    for quad in range(a.depth // 4):
        signed = load_i32(q + quad * a.q_row_bytes) ^ splat_i32(SIGNS)
        store_i32(signed, queries + 64 * quad)
        total = dot_u8s8(total, ones, signed)
    return total


@inner
def _finish_scores(a: Any, outer: int, head: int, scores: int, keys: int, query_sum: Any) -> Any:
    """Raw sums to whole numbers around the zero points, scaled and masked; returns the greatest of each query."""
    query_part = query_sum * splat_i32(a.k_zero)
    mask, step = key_mask(a, outer, head)
    greatest = splat_f32(np.float32(-np.inf))
    for at in range(scores, scores + 64 * keys, 64):
        score = scaled(a, to_float(load_i32(at) - query_part), mask)
        mask += step
        greatest = maximum(greatest, score)
        store_f32(score, at)
    return greatest


@inner
def _quantize_probabilities(a: Any, scores: int, keys: int, inverse: Any, probabilities: int) -> Any:
    """Probabilities as quads of four keys; returns their sum of each query. Keys beyond the last are 0."""
    step, zero = splat_f32(a.probability_step), splat_i32(0)
    total = zero
    for block in range(0, keys, 4):
        quad = zero
        for i in range(least(4, keys - block)):
            p = quantized(load_f32(scores + 64 * (block + i)) * inverse, step, zero)
            total = total + p
            quad = quad | (p << splat_i32(8 * i))
        store_i32(quad, probabilities + 16 * block)
    return total


@inner
def softmax_of_scores(
    a: Any, outer: int, head: int, block: int, scores: int, keys: int, query_sum: Any, probabilities: int
) -> Any:
    """Raw scores to quads of probabilities, whatever lies between; returns their sum of each query."""
    greatest = _finish_scores(a, outer, head, scores, keys, query_sum)
    if a.mask_query != 0:
        greatest = add_mask_of_queries(a, scores, keys, outer, head, 16 * block)
    inverse = exponentials(a, scores, keys, greatest)
    return _quantize_probabilities(a, scores, keys, inverse, probabilities)


@inner
def finish_context(a: Any, context: int, probability_sum: Any) -> None:
    """int32 sums of values to float32."""
    value_part = probability_sum * splat_i32(128 - a.v_zero)
    factor = splat_f32(a.context_multiplier)
    for row in range(a.depth):
        at = context + 64 * row
        store_f32(to_float(load_i32(at) + value_part) * factor, at)


@dataclass(frozen=True, slots=True)
class BytePlaces:
    """Where in scratch things stand: inner functions of the record and scratch (and the first key's lane)."""

    queries: Callable[..., int]
    scores: Callable[..., int]
    probabilities: Callable[..., int]
    context: Callable[..., int]


def byte_head(
    places: BytePlaces, score: Callable[..., None], mix: Callable[..., None]
) -> Callable[..., None]:
    """The inner function of one tile, as `attend_kernel` wants it.

    score      inner function (record, scratch, first lane, keys, head): raw scores, with the parts of their keys
    mix        inner function (record, scratch, first lane, keys, head, context): int32 sums of values
    """
    queries, scores_of, probabilities = places.queries, places.scores, places.probabilities

    @inner
    def head_of_queries(
        a: Any, group: int, outer: int, head: int, block: int, scratch: int, context: int
    ) -> None:
        first, keys = keys_of(a, group, outer)
        scores = scores_of(a, scratch)
        q = lane_address(a.q, a.q_panel, a.q_row_bytes, 16 * group) + head * (a.depth // 4) * a.q_row_bytes
        query_sum = signed_queries(a, q, queries(a, scratch))
        score(a, scratch, first, keys, head)
        probabilities_at = probabilities(a, scratch, first)
        kind = mask_of_keys(a, outer, head, keys)
        if kind < OTHER:
            greatest = hide_scores(a, outer, head, keys, kind, scores)
            total = softmax_of_whole(a, scores, keys, greatest, probabilities_at)
        else:
            total = softmax_of_scores(a, outer, head, block, scores, keys, query_sum, probabilities_at)
        mix(a, scratch, first, keys, head, context)
        finish_context(a, context, total)

    return head_of_queries
