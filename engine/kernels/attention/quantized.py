"""Attention of bytes: exact int32 sums of products of quads, sixteen queries of one head at a time.

    Q, K    u8 quads, as the projections store them        V    s8 rows [feature][key], values less 128

    raw[key][query]      = sum_d k (q - 128)                         k broadcast, q - 128 a vector
    scores               = raw + (128 - q_zero) sum_d k - k_zero sum_d (q - q_zero)
    context[d][query]    = sum_key (v - 128) p + (128 - v_zero) sum_key p

    scratch    queries s8 [depth / 4][16][4] | scores f32 [t to 16][16] | key parts int32 [t to 16]
               | probabilities u8 [t / 4 to 4][16][4] | context f32 [depth][16]

What lies between the products (scale, mask, softmax) is `attention.rows`'s own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.jit import Kernel, inner
from engine.kernels.attention.rows import (
    add_mask_of_queries,
    attend_kernel,
    exponentials,
    key_mask,
    keys_of,
    lane_address,
    scaled,
)
from engine.kernels.products.epilogue import quantized
from engine.kernels.simd.arithmetic import least, maximum, splat_f32, splat_i32, to_float
from engine.kernels.simd.dot import dot_u8s8
from engine.kernels.simd.memory import load_f32, load_i32, read_i32, store_f32, store_i32
from engine.kernels.simd.tile import tile_operations

ONES, SIGNS = 0x01010101, 0x80808080


def quantized_scratch(keys: int, depth: int) -> int:
    """Bytes for one tile."""
    padded = -(-keys // 16) * 16
    return 16 * depth + 64 * padded + 4 * padded + 16 * padded + 64 * depth


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
def _key_parts(a: Any, first: int, count: int, head: int, parts: int) -> None:
    """(128 - q_zero) * sum_d k of every key, in int32."""
    ones, factor = splat_i32(ONES), splat_i32(128 - a.q_zero)
    for block in range(0, count, 16):
        lane = lane_address(a.k, a.k_panel, a.kv_row_bytes, first + block)
        keys = lane + head * (a.depth // 4) * a.kv_row_bytes
        total = splat_i32(0)
        for quad in range(a.depth // 4):
            total = dot_u8s8(total, load_i32(keys + quad * a.kv_row_bytes), ones)
        store_i32(total * factor, parts + 4 * block)


def _score_finisher(key_part: Callable[..., Any]) -> Callable[..., Any]:
    """Raw sums to whole numbers around the zero points, scaled and masked; returns the greatest of each query.

    key_part   inner function of the raw sums and the address of their key's part: the sums with it
    """

    @inner
    def finish_scores(
        a: Any, outer: int, head: int, scores: int, keys: int, key_parts: int, query_sum: Any
    ) -> Any:
        query_part = query_sum * splat_i32(a.k_zero)
        mask, step = key_mask(a, outer, head)
        greatest = splat_f32(np.float32(-np.inf))
        for key in range(keys):
            at = scores + 64 * key
            whole = key_part(load_i32(at), key_parts + 4 * key) - query_part
            score = scaled(a, to_float(whole), mask)
            mask += step
            greatest = maximum(greatest, score)
            store_f32(score, at)
        return greatest

    return finish_scores


@inner
def _with_part(raw: Any, part: int) -> Any:
    return raw + splat_i32(read_i32(part))


@inner
def whole_already(raw: Any, part: int) -> Any:
    """For raw sums that have their key's part."""
    return raw


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
def _finish_context(a: Any, context: int, probability_sum: Any) -> None:
    value_part = probability_sum * splat_i32(128 - a.v_zero)
    factor = splat_f32(a.context_multiplier)
    for row in range(a.depth):
        at = context + 64 * row
        store_f32(to_float(load_i32(at) + value_part) * factor, at)


def _score_keys(rows: int) -> Callable[..., None]:
    tile = tile_operations(rows, 1, "s8u8")
    zero, save, step = tile.zero, tile.save, tile.step

    @inner
    def score(a: Any, queries: int, first: int, count: int, head: int, scores: int) -> None:
        for block in range(0, count, 16):
            lane = lane_address(a.k, a.k_panel, a.kv_row_bytes, first + block)
            keys = lane + head * (a.depth // 4) * a.kv_row_bytes
            for row in range(0, 16, rows):
                w, x = keys + 4 * row, queries
                sums = zero()
                for _ in range(a.depth // 4):
                    sums = step(sums, w, 4, x)
                    w += a.kv_row_bytes
                    x += 64
                save(sums, scores + (block + row) * 64, 64)

    return score


def _mix_values(rows: int) -> Callable[..., None]:
    tile = tile_operations(rows, 1, "u8s8")
    zero, save, step = tile.zero, tile.save, tile.step

    @inner
    def mix(a: Any, first: int, count: int, head: int, probabilities: int, context: int) -> None:
        value_bytes = a.kv_row_bytes // 4
        for group in range(0, a.depth, rows):
            row = least(group, a.depth - rows)
            sums = zero()
            for block in range(0, count, 16):
                lane = first + block
                panel = lane // value_bytes
                values = (
                    a.v
                    + panel * a.v_panel
                    + (head * a.depth + row) * value_bytes
                    + lane
                    - panel * value_bytes
                )
                for quad in range((least(16, count - block) + 3) // 4):
                    sums = step(sums, values + 4 * quad, value_bytes, probabilities + 16 * block + 64 * quad)
            save(sums, context + row * 64, 64)

    return mix


@dataclass(frozen=True, slots=True)
class BytePlaces:
    """Where in scratch things stand: inner functions of the record and scratch (and the first key's lane)."""

    queries: Callable[..., int]
    scores: Callable[..., int]
    key_parts: Callable[..., int]
    probabilities: Callable[..., int]
    context: Callable[..., int]


def byte_head(
    places: BytePlaces,
    score: Callable[..., None],
    mix: Callable[..., None],
    key_part: Callable[..., Any] = _with_part,
) -> Callable[..., None]:
    """The inner function of one tile, as `attend_kernel` wants it.

    score      inner function (record, scratch, first lane, keys, head): raw scores, and parts of keys
    mix        inner function (record, scratch, first lane, keys, head, context): int32 sums of values
    key_part   `whole_already` where raw scores have the parts of their keys
    """
    finish_scores = _score_finisher(key_part)
    queries, scores_of, parts_of, probabilities = (
        places.queries,
        places.scores,
        places.key_parts,
        places.probabilities,
    )

    @inner
    def head_of_queries(
        a: Any, group: int, outer: int, head: int, block: int, scratch: int, context: int
    ) -> None:
        first, keys = keys_of(a, group, outer)
        scores = scores_of(a, scratch)
        q = lane_address(a.q, a.q_panel, a.q_row_bytes, 16 * group) + head * (a.depth // 4) * a.q_row_bytes
        query_sum = signed_queries(a, q, queries(a, scratch))
        score(a, scratch, first, keys, head)
        greatest = finish_scores(a, outer, head, scores, keys, parts_of(a, scratch), query_sum)
        if a.mask_query != 0:
            greatest = add_mask_of_queries(a, scores, keys, outer, head, 16 * block)
        inverse = exponentials(a, scores, keys, greatest)
        total = _quantize_probabilities(a, scores, keys, inverse, probabilities(a, scratch, first))
        mix(a, scratch, first, keys, head, context)
        _finish_context(a, context, total)

    return head_of_queries


@inner
def _padded(a: Any) -> int:
    keys: int = (a.keys + 15) // 16 * 16
    return keys


@inner
def _queries_place(a: Any, scratch: int) -> int:
    return scratch


@inner
def _scores_place(a: Any, scratch: int) -> int:
    place: int = scratch + 16 * a.depth
    return place


@inner
def _parts_place(a: Any, scratch: int) -> int:
    place: int = scratch + 16 * a.depth + 64 * _padded(a)
    return place


@inner
def _probabilities_place(a: Any, scratch: int, first: int) -> int:
    place: int = scratch + 16 * a.depth + 68 * _padded(a)
    return place


@inner
def _context_place(a: Any, scratch: int) -> int:
    place: int = scratch + 16 * a.depth + 84 * _padded(a)
    return place


_PLACES = BytePlaces(_queries_place, _scores_place, _parts_place, _probabilities_place, _context_place)


def quantized_attention_kernel(rows: int) -> Kernel:
    """The kernel whose register tiles hold `rows` keys or features."""
    score_keys, mix_values = _score_keys(rows), _mix_values(rows)

    @inner
    def score(a: Any, scratch: int, first: int, keys: int, head: int) -> None:
        score_keys(a, scratch, first, keys, head, _scores_place(a, scratch))
        _key_parts(a, first, keys, head, _parts_place(a, scratch))

    @inner
    def mix(a: Any, scratch: int, first: int, keys: int, head: int, context: int) -> None:
        mix_values(a, first, keys, head, _probabilities_place(a, scratch, first), context)

    return attend_kernel("attention_u8", rows, byte_head(_PLACES, score, mix), _PLACES.context)


KERNELS = {rows: quantized_attention_kernel(rows) for rows in (8, 4, 2, 1)}
