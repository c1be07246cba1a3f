"""Attention of bfloat16, sums and softmax in float32: only where the user asked for `precision="bf16"`.

    Q, K    planes of bfloat16        V    rows of bfloat16 (see bf16_planes)

    scores[key][query]  = sum over pairs of d of K Q        a pair of K broadcast, a pair of sixteen queries a vector
    context[d][query]   = sum over pairs of keys of V p     a pair of V broadcast, likewise

    scratch    scores f32 [t to 16][16], then in their place probabilities bf16 [t / 2][16][2]
               | values of a last key that has no partner | context f32 [depth][16]

Probabilities are rounded undivided, at most 1; the context is divided by the sum of what they were rounded to.
Values are added key by key, the last first, as the upper number of a pair comes before the lower one: a key whose
probability is 0 changes nothing, wherever it stands.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import Kernel, inner
from engine.kernels.attention.rows import add_mask_of_queries, attend_kernel, keys_of, scale_and_mask
from engine.kernels.bf16_planes.rows import ROW_BYTES, row_place
from engine.kernels.simd.arithmetic import (
    bits_of,
    from_bits,
    least,
    select,
    splat_f32,
)
from engine.kernels.simd.mathematics import rough_decay
from engine.kernels.simd.memory import load_f32, load_i32, read_u16, store_f32, store_i32, write_i32
from engine.kernels.simd.pairs import HAS_PAIRS, add_pairs, exchanged, rounded_pairs
from engine.kernels.simd.tile import tile_operations

# Of the values of a last key without a partner.
_LAST_BYTES = 64


def takes(depth: int) -> bool:
    """Whether heads of so many features can be computed in pairs here."""
    return HAS_PAIRS and depth % 2 == 0


def pairs_scratch(keys: int, depth: int) -> int:
    """Bytes for one tile."""
    return 64 * (-(-keys // 16) * 16 + depth) + _LAST_BYTES


@inner
def _exponentials(scores: int, keys: int, greatest: Any) -> Any:
    """Pairs of keys' exp(score - greatest), in the scores' place; returns the sum of what they are rounded to."""
    total = splat_f32(np.float32(0))
    for key in range(0, keys - 1, 2):
        at = scores + 64 * key
        even, odd = rough_decay(load_f32(at) - greatest), rough_decay(load_f32(at + 64) - greatest)
        pair = rounded_pairs(even, odd)
        # The upper number of a pair is added first.
        total = add_pairs(total, exchanged(pair))
        store_i32(pair, scores + 32 * key)
    if keys % 2 != 0:
        last = rough_decay(load_f32(scores + 64 * (keys - 1)) - greatest)
        pair = rounded_pairs(last, splat_f32(np.float32(0)))
        total = add_pairs(total, pair)
        store_i32(pair, scores + 32 * (keys - 1))
    return total


@inner
def _without_masked_queries(scores: int, keys: int, total: Any) -> Any:
    """Zeros for queries all of whose keys are masked, whose sum is no number; returns the sums' inverse."""
    zero = splat_f32(np.float32(0))
    for pair in range((keys + 1) // 2):
        at = scores + 64 * pair
        store_i32(bits_of(select(total == total, from_bits(load_i32(at)), zero)), at)  # noqa: PLR0124 - NaN
    return select(total == total, splat_f32(np.float32(1)) / total, zero)  # noqa: PLR0124


@inner
def pairs_of_scores(a: Any, scores: int, keys: int, outer: int, head: int, block: int) -> Any:
    """Raw scores to pairs of probabilities, in their place; returns what the context is to be multiplied by."""
    greatest = scale_and_mask(a, scores, keys, outer, head)
    if a.mask_query != 0:
        greatest = add_mask_of_queries(a, scores, keys, outer, head, 16 * block)
    total = _exponentials(scores, keys, greatest)
    inverse = splat_f32(np.float32(1)) / total
    if a.zero_masked_rows != 0:
        inverse = _without_masked_queries(scores, keys, total)
    return inverse * splat_f32(a.context_multiplier)


def pair_head(
    scores_of: Callable[..., int], score: Callable[..., None], mix: Callable[..., None]
) -> Callable[..., None]:
    """The inner function of one tile, as `attend_kernel` wants it.

    scores_of   inner function (scratch): where scores stand
    score       inner function (record, scratch, q, first lane, keys, head): raw scores; q: the first pair of queries
    mix         inner function (record, scratch, first lane, keys, head, context): sums of values
    """

    @inner
    def head_of_queries(
        a: Any, group: int, outer: int, head: int, block: int, scratch: int, context: int
    ) -> None:
        first, keys = keys_of(a, group, outer)
        q = a.q + group * a.q_panel + head * (a.depth // 2) * 64
        score(a, scratch, q, first, keys, head // a.shared)
        factor = pairs_of_scores(a, scores_of(scratch), keys, outer, head, block)
        mix(a, scratch, first, keys, head // a.shared, context)
        for at in range(context, context + 64 * a.depth, 64):
            store_f32(load_f32(at) * factor, at)

    return head_of_queries


@inner
def _scores_place(scratch: int) -> int:
    return scratch


@inner
def _last_place(a: Any, scratch: int) -> int:
    place: int = scratch + (a.keys + 15) // 16 * 1024
    return place


@inner
def _context_place(a: Any, scratch: int) -> int:
    return _last_place(a, scratch) + _LAST_BYTES


def _score_keys(rows: int) -> Callable[..., None]:
    tile = tile_operations(rows, 1, "bf16")
    zero, save, step = tile.zero, tile.save, tile.step

    @inner
    def score(a: Any, scratch: int, q: int, first: int, count: int, head: int) -> None:
        pairs, group = a.depth // 2, first // 16
        for block in range(0, count, 16):
            keys = a.k + (group + block // 16) * a.k_panel + head * pairs * 64
            for row in range(0, 16, rows):
                w, x = keys + 4 * row, q
                sums = zero()
                for _ in range(pairs):
                    sums = step(sums, w, 4, x)
                    w += 64
                    x += 64
                save(sums, scratch + (block + row) * 64, 64)

    return score


def _mix_values(rows: int) -> Callable[..., None]:
    tile = tile_operations(rows, 1, "bf16")
    zero, save, step = tile.zero, tile.save, tile.step

    @inner
    def mix(a: Any, scratch: int, first: int, count: int, head: int, context: int) -> None:
        group, last = first // 16, _last_place(a, scratch)
        for begin in range(0, a.depth, rows):
            # The last rows of features may begin early and repeat some.
            row = least(begin, a.depth - rows)
            rows_before = (head * a.depth + row) * ROW_BYTES
            sums = zero()
            if count % 2 != 0:
                # What lies beside the last key is nobody's, and may be no number.
                key = count - 1
                values = row_place(a.v, a.v_panel, group + key // 16) + rows_before + 2 * (key % 16)
                for r in range(rows):
                    write_i32(read_u16(values + r * ROW_BYTES), last + 4 * r)
                sums = step(sums, last, 4, scratch + 32 * key)
            for block in range((count - 1) // 16 * 16, -1, -16):
                values = row_place(a.v, a.v_panel, group + block // 16) + rows_before
                p = scratch + 32 * block
                for pair in range(least(16, count - block) // 2 - 1, -1, -1):
                    sums = step(sums, values + 4 * pair, ROW_BYTES, p + 64 * pair)
            save(sums, context + row * 64, 64)

    return mix


@functools.cache
def bf16_attention_kernel(rows: int) -> Kernel:
    """The kernel whose register tiles hold `rows` keys or features."""
    head = pair_head(_scores_place, _score_keys(rows), _mix_values(rows))
    return attend_kernel("attention_bf16", rows, head, _context_place)


# Those that are offered.
KERNELS = {rows: bf16_attention_kernel(rows) for rows in (8, 4, 2)} if HAS_PAIRS else {}
