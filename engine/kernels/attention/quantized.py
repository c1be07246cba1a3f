"""Attention of bytes: exact int32 sums of products of quads, sixteen queries of one head at a time.

    Q, K, V    u8 quads, as the projections store them

    raw[key][query]      = sum_d k (q - 128) + (128 - q_zero) sum_d k       k broadcast, q - 128 a vector
    scores               = raw - k_zero sum_d (q - q_zero)
    context[d][query]    = sum_key (v - 128) p + (128 - v_zero) sum_key p   v broadcast, p a vector

    scratch    queries s8 [depth / 4][16][4] | values less 128 [t / 16][depth][16] | key parts int32 [t to 16]
               | scores [t to 16][16] | probabilities u8 [t / 4 to 4][16][4] | context [depth][16]
               | quads of the context [depth / 4][lane][4], where it is stored as rows of bytes

A tile is one head of the queries of some vectors of lanes: values and key parts are made once for all of them that look
at the same keys. What lies between the products is `attention.whole`'s, or `attention.rows`'s where that does not do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.jit import Kernel, inner, kernel
from engine.kernels.attention.byte_heads import SIGNS, finish_context, signed_queries, softmax_of_scores
from engine.kernels.attention.rows import (
    attention_of,
    fill_with_zeros,
    keys_of,
    lane_address,
    place_of,
    store_context,
)
from engine.kernels.attention.whole import (
    ONES,
    OTHER,
    UNSEEN,
    hide_parts,
    largest_of,
    mask_of_keys,
    softmax_of_whole,
)
from engine.kernels.layout import WIDTHS
from engine.kernels.products.epilogue import divided, epilogue_of
from engine.kernels.simd.arithmetic import least, splat_f32, splat_i32, to_float
from engine.kernels.simd.bytes import quads_to_rows, quads_to_rows_16, quads_to_rows_32, rows_of_sixteen
from engine.kernels.simd.dot import dot_u8s8
from engine.kernels.simd.memory import load_i32, store_i32
from engine.kernels.simd.narrow import HAS_NARROWING, nearest, quads_of_rows
from engine.kernels.simd.tile import tile_operations


def quantized_scratch(keys: int, depth: int) -> int:
    """Bytes for one tile."""
    padded = -(-keys // 16) * 16
    return (16 + 64 + WIDTHS[-1]) * depth + (depth + 4 + 64 + 16) * padded


@inner
def _padded(a: Any) -> int:
    keys: int = (a.keys + 15) // 16 * 16
    return keys


@inner
def _places(a: Any, scratch: int) -> Any:
    """Where queries, values, key parts, scores, probabilities and the context stand."""
    padded = _padded(a)
    values = scratch + 16 * a.depth
    parts = values + a.depth * padded
    scores = parts + 4 * padded
    probabilities = scores + 64 * padded
    return scratch, values, parts, scores, probabilities, probabilities + 16 * padded


@inner
def _prepare(a: Any, first: int, count: int, head: int, values: int, parts: int) -> None:
    """Values as rows of sixteen signed bytes, and (128 - q_zero) * sum_d k of every key in int32."""
    ones, factor = splat_i32(ONES), splat_i32(128 - a.q_zero)
    head_rows = head * (a.depth // 4) * a.kv_row_bytes
    for block in range(0, count, 16):
        k = lane_address(a.k, a.k_panel, a.kv_row_bytes, first + block) + head_rows
        v = lane_address(a.v, a.v_panel, a.kv_row_bytes, first + block) + head_rows
        total = splat_i32(0)
        for quad in range(a.depth // 4):
            total = dot_u8s8(total, load_i32(k + quad * a.kv_row_bytes), ones)
            rows = rows_of_sixteen(load_i32(v + quad * a.kv_row_bytes) ^ splat_i32(SIGNS))
            store_i32(rows, values + block * a.depth + 64 * quad)
        store_i32(total * factor, parts + 4 * block)


def _score_keys(rows: int) -> Callable[..., Any]:
    tile = tile_operations(rows, 1, "s8u8")
    spread, save, step, largest_row = tile.spread, tile.save, tile.step, largest_of(tile)

    @inner
    def score(a: Any, queries: int, first: int, count: int, head: int, parts: int, scores: int) -> Any:
        quads, row_bytes, greatest = a.depth // 4, a.kv_row_bytes, splat_i32(UNSEEN)
        for block in range(0, count, 16):
            lane = lane_address(a.k, a.k_panel, a.kv_row_bytes, first + block)
            keys = lane + head * (a.depth // 4) * a.kv_row_bytes
            for row in range(0, 16, rows):
                w, x = keys + 4 * row, queries
                sums = spread(parts + 4 * (block + row), 4)
                for _ in range(quads // 4):
                    sums = step(sums, w, 4, x)
                    sums = step(sums, w + row_bytes, 4, x + 64)
                    sums = step(sums, w + 2 * row_bytes, 4, x + 128)
                    sums = step(sums, w + 3 * row_bytes, 4, x + 192)
                    w += 4 * row_bytes
                    x += 256
                for _ in range(quads % 4):
                    sums = step(sums, w, 4, x)
                    w += row_bytes
                    x += 64
                greatest = largest_row(sums, greatest)
                save(sums, scores + (block + row) * 64, 64)
        return greatest

    return score


def _mix_values(rows: int) -> Callable[..., None]:
    tile = tile_operations(rows, 1, "u8s8")
    zero, save, step = tile.zero, tile.save, tile.step

    @inner
    def mix(a: Any, count: int, values: int, probabilities: int, context: int) -> None:
        whole = count // 16 * 16
        for group in range(0, a.depth, rows):
            row = least(group, a.depth - rows)
            w, x = values + 16 * row, probabilities
            sums = zero()
            for _ in range(0, whole, 16):
                sums = step(sums, w, 16, x)
                sums = step(sums, w + 4, 16, x + 64)
                sums = step(sums, w + 8, 16, x + 128)
                sums = step(sums, w + 12, 16, x + 192)
                w += 16 * a.depth
                x += 256
            for quad in range((count - whole + 3) // 4):
                sums = step(sums, w + 4 * quad, 16, x + 64 * quad)
            save(sums, context + row * 64, 64)

    return mix


@inner
def _store_quads(a: Any, e: Any, context: int, y: int, total: Any) -> None:
    """int32 sums of values to quads, as `finish_context` and `store_rows` would, where no quotient leaves an int32."""
    value_part = total * splat_i32(128 - a.v_zero)
    factor, step, inverse = splat_f32(a.context_multiplier), splat_f32(e.step), splat_f32(e.inverse)
    zero = splat_i32(e.zero_point * 0x10001)
    for at in range(context, context + 64 * a.depth, 256):
        r0 = nearest(divided(to_float(load_i32(at) + value_part) * factor, step, inverse))
        r1 = nearest(divided(to_float(load_i32(at + 64) + value_part) * factor, step, inverse))
        r2 = nearest(divided(to_float(load_i32(at + 128) + value_part) * factor, step, inverse))
        r3 = nearest(divided(to_float(load_i32(at + 192) + value_part) * factor, step, inverse))
        store_i32(quads_of_rows(r0, r1, r2, r3, zero, splat_i32(0), splat_i32(-1)), y)
        y += e.row_bytes


@inner
def _store(a: Any, e: Any, context: int, head: int, group: int, total: Any) -> None:
    if HAS_NARROWING and e.inverse != 0:
        if a.bytes != 0:
            quads = context + 64 * a.depth + group % a.vectors * 64
        else:
            quads = lane_address(e.y, e.y_panel, e.row_bytes, 16 * group)
            quads += head * (a.depth // 4) * e.row_bytes
        _store_quads(a, e, context, quads, total)
    else:
        finish_context(a, context, total)
        store_context(a, e, context, head, group)


@inner
def _store_rows_of_bytes(a: Any, e: Any, quads: int, head: int, panel: int) -> None:
    """A head's quads of a whole panel as rows of bytes, in the form of its width (see movement/bytes.py)."""
    width = e.row_bytes // 4
    y = a.bytes + panel * a.bytes_panel + head * a.depth * width
    for at in range(0, a.depth * width, 4 * width):
        if width == 64:
            quads_to_rows(quads + at, y + at, 64)
        elif width == 32:
            quads_to_rows_32(quads + at, y + at)
        else:
            quads_to_rows_16(quads + at, y + at)


def quantized_attention_kernel(rows: int) -> Kernel:
    """The kernel whose register tiles hold `rows` keys or features."""
    score, mix = _score_keys(rows), _mix_values(rows)

    @kernel("attention_u8", f"{rows}x16")
    def attend(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = attention_of(args)
        e = epilogue_of(a.epilogue)
        blocks = a.q_pitch // 16
        queries, values, parts, scores, probabilities, context = _places(a, scratch)
        for index in range(tile_begin, tile_end):
            head, held, kind = index % a.heads, -1, OTHER
            begin = index // a.heads * a.vectors
            for group in range(begin, begin + a.vectors):
                if group * a.heads >= a.tiles:
                    fill_with_zeros(context, a.depth)
                    _store(a, e, context, head, group, splat_i32(0))
                    continue
                outer, block = place_of(a, group, blocks)
                first, keys = keys_of(a, group, outer)
                if first != held:
                    _prepare(a, first, keys, head, values, parts)
                    kind = mask_of_keys(a, outer, head, keys)
                    if kind < OTHER:
                        hide_parts(a, outer, head, keys, kind, parts)
                    held = first
                q = lane_address(a.q, a.q_panel, a.q_row_bytes, 16 * group)
                query_sum = signed_queries(a, q + head * (a.depth // 4) * a.q_row_bytes, queries)
                greatest = score(a, queries, first, keys, head, parts, scores)
                if kind < OTHER:
                    total = softmax_of_whole(a, scores, keys, greatest, probabilities)
                else:
                    total = softmax_of_scores(a, outer, head, block, scores, keys, query_sum, probabilities)
                mix(a, keys, values, probabilities, context)
                _store(a, e, context, head, group, total)
            if a.bytes != 0:
                _store_rows_of_bytes(a, e, context + 64 * a.depth, head, index // a.heads)

    return attend


KERNELS = {rows: quantized_attention_kernel(rows) for rows in (8, 4, 2, 1)}
# Those that can store rows of bytes.
BYTES_KERNELS = frozenset(KERNELS.values()) if HAS_NARROWING else frozenset()
