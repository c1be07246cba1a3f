"""Attention: scores, softmax and context of sixteen queries of one head at a time.

Queries are lanes, so nothing is transposed: K and V are read as their own panels lie.

    scores[key][query]  = sum_d K[d][key] * Q[d][query]     K panel: keys of one d are neighbours,
    context[d][query]   = sum_key V[d][key] * p[key][query]  V panel: so are the keys of one d

    scratch   scores  f32 [t rounded up to 16][16]    then context  f32 [depth][16]

Softmax runs down the keys, lane by lane, without a horizontal sum. Plain probabilities are left
undivided and the context is divided once; quantised ones are divided first, as the graph rounds them.
Products of whole numbers (quantised graphs) are exact while their sums stay below 2**24.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import Kernel, active_level, inner, kernel, record
from engine.kernels.products.epilogue import epilogue_of, quantized, store_bf16, store_rows
from engine.kernels.simd.arithmetic import (
    least,
    maximum,
    select,
    splat_f32,
    splat_i32,
    to_float,
)
from engine.kernels.simd.mathematics import decay
from engine.kernels.simd.memory import load_f32, read_f32, read_i64, store_f32, write_f32
from engine.kernels.simd.tile import tile_operations
from engine.kernels.simd.transpose import add_transposed

ATTENTION = np.dtype(
    [
        # Of bfloat16 q_panel and k_panel are bytes of a vector of lanes, v_panel of two, and row bytes are not asked for.
        *((name, np.int64) for name in ("q", "q_panel", "k", "k_panel", "v", "v_panel")),
        ("q_row_bytes", np.int64),
        ("q_pitch", np.int64),  # lanes from one sequence of queries to the next
        ("kv_row_bytes", np.int64),
        ("kv_pitch", np.int64),
        ("heads", np.int64),
        ("shared", np.int64),  # heads of queries for each head of keys and values
        ("depth", np.int64),  # features of a head
        ("queries", np.int64),  # of one sequence
        ("keys", np.int64),  # of one sequence
        ("tiles", np.int64),  # sequences x heads x groups of sixteen queries; tiles beyond fill padding lanes
        (
            "groups",
            np.int64,
        ),  # address of (first lane, positions, sequence) for each group of sixteen lanes; 0: sequences lie regularly
        ("mask", np.int64),  # address of the additive float32 mask, or 0
        *(
            (name, np.int64) for name in ("mask_outer", "mask_head", "mask_query", "mask_key")
        ),  # bytes; 0 repeats
        ("multiplier", np.float32),
        ("score_multiplier", np.float32),  # applied before scores are rounded to 8 bits
        ("score_step", np.float32),  # 0: scores stay as they are
        ("score_zero", np.int64),
        ("scaled_step", np.float32),  # the same behind the multiplier
        ("scaled_zero", np.int64),
        ("masked_step", np.float32),  # and behind the mask
        ("masked_zero", np.int64),
        ("context_multiplier", np.float32),
        ("probability_step", np.float32),  # 0: probabilities stay as they are
        ("probability_zero", np.int64),
        ("zero_masked_rows", np.int64),
        ("before", np.int64),  # of a window: keys before a query's own place, and behind it, that it looks at
        ("behind", np.int64),
        ("outside", np.float32),  # added to the scores of others; 0 where there is no window
        ("buckets", np.int64),  # int32 for distances from queries to keys: see relative.py
        *((name, np.int64) for name in ("key_positions", "query_positions", "position_bytes")),
        *((name, np.int64) for name in ("q_zero", "k_zero", "v_zero")),  # of operands that are bytes
        ("vectors", np.int64),  # of sixteen lanes of queries, in a tile of bytes
        ("bytes", np.int64),  # address of the context as rows of bytes, of tiles as wide as a panel; or 0
        ("bytes_panel", np.int64),
        ("epilogue", np.int64),
    ],
    align=True,
)
attention_of = record(ATTENTION)


def tile_rows(depth: int) -> int:
    """Keys, or features, whose sums are in registers together."""
    level = active_level()
    widest = 8 if level.width == 64 else (level.registers - 3) // (64 // level.width)
    return next(rows for rows in (8, 4, 2, 1) if rows <= widest and rows <= depth)


def scratch_bytes(keys: int, depth: int) -> int:
    """Bytes for one tile: scores and context."""
    return 64 * (-(-keys // 16) * 16 + depth)


@inner
def lane_address(base: int, panel_bytes: int, row_bytes: int, lane: int) -> int:
    """Row 0 of this lane, which begins a group of sixteen."""
    width = row_bytes // 4
    panel = lane // width
    return base + panel * panel_bytes + (lane - panel * width) * 4


@inner
def keys_of(a: Any, group: int, outer: int) -> Any:
    """(first lane, number) of the keys that a group of queries looks at."""
    if a.groups != 0:
        return read_i64(a.groups + 24 * group), read_i64(a.groups + 24 * group + 8)
    return outer * a.kv_pitch, a.keys


@inner
def place_of(a: Any, group: int, blocks: int) -> Any:
    """(sequence, which sixteen of its queries) of a group."""
    if a.groups != 0:
        return read_i64(a.groups + 24 * group + 16), group - read_i64(a.groups + 24 * group) // 16
    return group // blocks, group % blocks


@inner
def key_mask(a: Any, outer: int, head: int) -> Any:
    """(address of the mask of the first key, bytes to the next), for masks that are the same for all queries; else 0, 0."""
    # Where groups are named, masked positions have no lane.
    if a.mask == 0 or a.mask_query != 0 or a.groups != 0:
        return 0, 0
    return a.mask + outer * a.mask_outer + head * a.mask_head, a.mask_key


@inner
def rounded(score: Any, step: Any, zero_point: int) -> Any:
    """Rounded to 8 bits and dequantised; as it is if the step is 0."""
    if step != np.float32(0):
        zero = splat_i32(zero_point)
        score = to_float(quantized(score, splat_f32(step), zero) - zero) * splat_f32(step)
    return score


@inner
def scaled(a: Any, score: Any, mask: int) -> Any:
    """A score scaled, its key's mask added, and rounded wherever the graph does so."""
    if a.score_step != np.float32(0):
        zero = splat_i32(a.score_zero)
        whole = quantized(score * splat_f32(a.score_multiplier), splat_f32(a.score_step), zero)
        score = to_float(whole - zero)
    score = rounded(score * splat_f32(a.multiplier), a.scaled_step, a.scaled_zero)
    if mask != 0:
        score = score + splat_f32(read_f32(mask))
    if a.mask_query == 0:
        score = rounded(score, a.masked_step, a.masked_zero)
    return score


@inner
def add_mask_of_queries(a: Any, scores: int, keys: int, outer: int, head: int, first_query: int) -> Any:
    """Add a mask that differs from query to query (causal), one value a lane; returns the greatest scores."""
    mask = a.mask + outer * a.mask_outer + head * a.mask_head
    if a.mask_key == 4 and first_query + 16 <= a.queries:
        for block in range(0, keys, 16):
            add_transposed(mask + first_query * a.mask_query + 4 * block, a.mask_query, scores + 64 * block)
    else:
        for lane in range(16):
            query = least(first_query + lane, a.queries - 1)
            for key in range(keys):
                at = scores + key * 64 + lane * 4
                write_f32(read_f32(at) + read_f32(mask + query * a.mask_query + key * a.mask_key), at)
    greatest = splat_f32(np.float32(-np.inf))
    for key in range(keys):
        score = rounded(load_f32(scores + key * 64), a.masked_step, a.masked_zero)
        store_f32(score, scores + key * 64)
        greatest = maximum(greatest, score)
    return greatest


@inner
def _round_and_mask(a: Any, scores: int, keys: int, outer: int, head: int) -> Any:
    """Scores scaled, masked and rounded in place; returns the greatest of each query."""
    mask, step = key_mask(a, outer, head)
    greatest = splat_f32(np.float32(-np.inf))
    for key in range(keys):
        score = scaled(a, load_f32(scores + key * 64), mask)
        mask += step
        greatest = maximum(greatest, score)
        store_f32(score, scores + key * 64)
    return greatest


@inner
def scale_and_mask(a: Any, scores: int, keys: int, outer: int, head: int) -> Any:
    """The same where nothing is rounded."""
    mask, step = key_mask(a, outer, head)
    multiplier, greatest = splat_f32(a.multiplier), splat_f32(np.float32(-np.inf))
    for at in range(scores, scores + 64 * keys, 64):
        score = load_f32(at) * multiplier
        if mask != 0:
            score = score + splat_f32(read_f32(mask))
            mask += step
        greatest = maximum(greatest, score)
        store_f32(score, at)
    return greatest


@inner
def _is_rounded(a: Any) -> bool:
    none = np.float32(0)
    return bool(a.score_step != none or a.scaled_step != none or a.masked_step != none)


@inner
def exponentials(a: Any, scores: int, keys: int, greatest: Any) -> Any:
    """Replace scores by exp(score - greatest); returns one over their sum."""
    total = splat_f32(np.float32(0))
    for key in range(keys):
        e = decay(load_f32(scores + key * 64) - greatest)
        store_f32(e, scores + key * 64)
        total = total + e
    inverse = splat_f32(np.float32(1)) / total
    if a.zero_masked_rows != 0:
        inverse = select(inverse == inverse, inverse, splat_f32(np.float32(0)))  # noqa: PLR0124 - NaN
        for key in range(keys):
            e = load_f32(scores + key * 64)
            store_f32(select(e == e, e, splat_f32(np.float32(0))), scores + key * 64)  # noqa: PLR0124
    return inverse


@inner
def _quantize_probabilities(a: Any, scores: int, keys: int, inverse: Any) -> None:
    """Whole numbers around the zero point, rounded as QuantizeLinear does."""
    step, zero = splat_f32(a.probability_step), splat_i32(a.probability_zero)
    for key in range(keys):
        at = scores + key * 64
        store_f32(to_float(quantized(load_f32(at) * inverse, step, zero) - zero), at)


def score_keys(rows: int) -> Callable[..., None]:
    """The inner function that fills the scores of sixteen queries."""
    tile = tile_operations(rows, 1, "f32")
    zero, save, step = tile.zero, tile.save, tile.step

    @inner
    def score(a: Any, q: int, first: int, count: int, head: int, scores: int) -> None:
        first_row = head * a.depth * a.kv_row_bytes
        for block in range(0, count, 16):
            lane = first + block
            keys = lane_address(a.k, a.k_panel, a.kv_row_bytes, lane) + first_row
            for row in range(0, 16, rows):
                w, x = keys + 4 * row, q
                sums = zero()
                for _ in range(a.depth):
                    sums = step(sums, w, 4, x)
                    w += a.kv_row_bytes
                    x += a.q_row_bytes
                save(sums, scores + (block + row) * 64, 64)

    return score


def mix_values(rows: int) -> Callable[..., None]:
    """The inner function that sums values, weighted by what stands in the scores' place."""
    tile = tile_operations(rows, 1, "f32")
    zero, save, step = tile.zero, tile.save, tile.step

    @inner
    def mix(a: Any, first: int, count: int, head: int, scores: int, context: int) -> None:
        for group in range(0, a.depth, rows):
            # The last group of features may begin early and repeat some.
            row = least(group, a.depth - rows)
            first_row = (head * a.depth + row) * a.kv_row_bytes
            sums = zero()
            for block in range(0, count, 16):
                lane = first + block
                values = lane_address(a.v, a.v_panel, a.kv_row_bytes, lane) + first_row
                for key in range(least(16, count - block)):
                    sums = step(sums, values + 4 * key, a.kv_row_bytes, scores + (block + key) * 64)
            save(sums, context + row * 64, 64)

    return mix


@inner
def fill_with_zeros(context: int, depth: int) -> None:
    """A context for lanes beyond the last sequence: finite, whatever the arena held."""
    for row in range(depth):
        store_f32(splat_f32(np.float32(0)), context + row * 64)


@inner
def scale_context(a: Any, context: int, factor: Any) -> None:
    """Divide the context by the sums of exponentials, and multiply it as the graph does."""
    factor = factor * splat_f32(a.context_multiplier)
    for at in range(context, context + 64 * a.depth, 64):
        store_f32(load_f32(at) * factor, at)


@inner
def store_context(a: Any, e: Any, context: int, head: int, group: int) -> None:
    """A finished float32 context, in the forms that the epilogue asks for."""
    if e.y != 0:
        y = lane_address(e.y, e.y_panel, e.row_bytes, 16 * group)
        store_rows(e, context, 64, head * a.depth, a.depth, y, 64)
    if e.planes != 0:
        store_bf16(e, context, 64, head * a.depth, a.depth, group, 64)


@inner
def context_place(a: Any, scratch: int) -> int:
    """Behind the scores."""
    place: int = scratch + (a.keys + 15) // 16 * 1024
    return place


def attention_kernel(rows: int) -> Kernel:
    """The kernel whose register tiles hold `rows` keys or features."""
    score, mix = score_keys(rows), mix_values(rows)

    @inner
    def head_of_queries(
        a: Any, group: int, outer: int, head: int, block: int, scratch: int, context: int
    ) -> None:
        first, keys = keys_of(a, group, outer)
        q = lane_address(a.q, a.q_panel, a.q_row_bytes, 16 * group) + head * a.depth * a.q_row_bytes
        score(a, q, first, keys, head // a.shared, scratch)
        if _is_rounded(a):
            greatest = _round_and_mask(a, scratch, keys, outer, head)
        else:
            greatest = scale_and_mask(a, scratch, keys, outer, head)
        if a.mask_query != 0:
            greatest = add_mask_of_queries(a, scratch, keys, outer, head, 16 * block)
        factor = exponentials(a, scratch, keys, greatest)
        if a.probability_step != np.float32(0):
            _quantize_probabilities(a, scratch, keys, factor)
            factor = splat_f32(np.float32(1))
        mix(a, first, keys, head // a.shared, scratch, context)
        scale_context(a, context, factor)

    return attend_kernel("attention_f32", rows, head_of_queries, context_place)


@inner
def _nothing(scratch: int) -> None:
    pass


def attend_kernel(
    family: str,
    rows: int,
    head_of_queries: Callable[..., None],
    context_place: Callable[..., int],
    begin: Callable[..., None] = _nothing,
    end: Callable[..., None] = _nothing,
) -> Kernel:
    """The kernel that takes heads and groups of sixteen queries, and stores their contexts.

    head_of_queries   inner function of one tile: record, group, sequence, head, group of the sequence, scratch, context
    context_place     inner function of record and scratch: where the context stands
    begin, end        inner functions of scratch: before the first tile of a call and after the last
    """

    @kernel(family, f"{rows}x16")
    def attend(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = attention_of(args)
        e = epilogue_of(a.epilogue)
        blocks = a.q_pitch // 16
        context = context_place(a, scratch)
        begin(scratch)
        for index in range(tile_begin, tile_end):
            head = index % a.heads
            group = index // a.heads
            if index < a.tiles:
                outer, block = place_of(a, group, blocks)
                head_of_queries(a, group, outer, head, block, scratch, context)
            else:
                fill_with_zeros(context, a.depth)
            store_context(a, e, context, head, group)
        end(scratch)

    return attend


KERNELS = {rows: attention_kernel(rows) for rows in (8, 4, 2, 1)}
