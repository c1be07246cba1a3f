"""Attention in a window: a query looks at the keys next to its own place, and others are not even multiplied.

    keys     0 . . . . . |begin . . . . . . . . . . end| . . . t
    queries                        q .. q + 15                      begin <= q - before, q + 15 + behind < end

A key outside of its query's window has a score so low that its probability is 0, unless all scores of the query are that
low: a query of padding, say, whose whole window is padding. Then all keys are looked at, as the graph does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import Kernel, inner
from engine.kernels.attention.rows import (
    attend_kernel,
    context_place,
    exponentials,
    key_mask,
    keys_of,
    lane_address,
    mix_values,
    scale_context,
    score_keys,
)
from engine.kernels.simd.arithmetic import lane_numbers, least, maximum, select, splat_f32, splat_i32
from engine.kernels.simd.memory import load_f32, read_f32, store_f32


@inner
def _scale_and_mask(
    a: Any, scores: int, begin: int, count: int, outer: int, head: int, first_query: int
) -> Any:
    """Scores scaled and masked in place; returns the greatest of each query."""
    mask, step = key_mask(a, outer, head)
    mask += begin * step
    multiplier, outside = splat_f32(a.multiplier), splat_f32(a.outside)
    greatest, lanes = splat_f32(np.float32(-np.inf)), lane_numbers()
    for key in range(count):
        at, place = scores + 64 * key, begin + key - first_query
        score = load_f32(at) * multiplier
        masked = score
        if mask != 0:
            masked = score + splat_f32(read_f32(mask))
            mask += step
        # The lanes whose window ends before this key, and those whose window begins behind it.
        masked = select(lanes < splat_i32(place - a.behind), score + outside, masked)
        masked = select(lanes > splat_i32(place + a.before), score + outside, masked)
        greatest = maximum(greatest, masked)
        store_f32(masked, at)
    return greatest


@inner
def _is_lost(a: Any, greatest: Any, queries: int, place: int) -> bool:
    """Whether a query looks at masked keys only."""
    store_f32(greatest, place)
    lowest = np.float32(np.inf)
    for lane in range(least(queries, 16)):
        value = read_f32(place + 4 * lane)
        lowest = value if value < lowest else lowest
    return bool(not lowest > a.outside * np.float32(0.5))


def windowed_kernel(rows: int) -> Kernel:
    """The kernel whose register tiles hold `rows` keys or features."""
    score, mix = score_keys(rows), mix_values(rows)

    @inner
    def head_of_queries(
        a: Any, group: int, outer: int, head: int, block: int, scratch: int, context: int
    ) -> None:
        first, keys = keys_of(a, group, outer)
        place = 16 * group - first
        q = lane_address(a.q, a.q_panel, a.q_row_bytes, 16 * group) + head * a.depth * a.q_row_bytes
        begin = (place - least(place, a.before)) // 16 * 16
        count = least(place + 16 + a.behind, keys) - begin
        score(a, q, first + begin, count, head // a.shared, scratch)
        greatest = _scale_and_mask(a, scratch, begin, count, outer, head, place)
        if _is_lost(a, greatest, keys - place, context):
            begin, count = 0, keys
            score(a, q, first, count, head // a.shared, scratch)
            greatest = _scale_and_mask(a, scratch, begin, count, outer, head, place)
        factor = exponentials(a, scratch, count, greatest)
        mix(a, first + begin, count, head // a.shared, scratch, context)
        scale_context(a, context, factor)

    return attend_kernel("attention_windowed_f32", rows, head_of_queries, context_place)


KERNELS = {rows: windowed_kernel(rows) for rows in (8, 4, 2, 1)}
