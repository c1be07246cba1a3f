"""Attention whose scores have embeddings of distances in them (He et al. 2021).

    score[key j][query i] = multiplier * k_j.q_i + P_r.q_i + k_j.Q_r          r = buckets[i - j]

Buckets rise by one at most with the distance. So sixteen queries and sixteen keys meet no more than 31 embeddings, two
vectors of lanes; and P_r.q_i is computed once for all keys of the same distance.

    scratch   scores [t to 16][16] | context [depth][16] | P_r.q_i [r][16] | k_j.Q_r [16 keys][32 r]

P and Q lie as features [heads * depth][r], buckets from 16 before the first distance to 16 behind the last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import Kernel, inner
from engine.kernels.attention.rows import (
    add_mask_of_queries,
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
from engine.kernels.attention.rows import scratch_bytes as plain_scratch
from engine.kernels.simd.arithmetic import least, maximum, splat_f32
from engine.kernels.simd.memory import (
    gather_lanes,
    gather_numbers,
    load_f32,
    read_f32,
    read_i32,
    store_f32,
)
from engine.kernels.simd.tile import tile_operations

# Distances, and embeddings, that may be read beyond those that are.
MARGIN = 32


def scratch_bytes(keys: int, depth: int, positions: int) -> int:
    """Bytes for one tile."""
    return plain_scratch(keys, depth) + 64 * (positions + MARGIN) + 16 * 128


@inner
def _bucket(a: Any, query: int, key: int) -> int:
    """Address of the bucket of this distance."""
    place: int = a.buckets + 4 * (query - key + a.keys - 1 + MARGIN)
    return place


def _product(rows: int) -> Callable[..., None]:
    tile = tile_operations(rows, 1, "f32")
    zero, save, step = tile.zero, tile.save, tile.step

    @inner
    def product(a: Any, w: int, w_bytes: int, x: int, x_bytes: int, to: int, to_bytes: int) -> None:
        """Some rows of sixteen numbers: neighbours at w times a vector at x, summed over the features of a head."""
        sums = zero()
        for _ in range(a.depth):
            sums = step(sums, w, 4, x)
            w += w_bytes
            x += x_bytes
        save(sums, to, to_bytes)

    return product


def _add_distances(rows: int) -> Callable[..., Any]:
    product = _product(rows)

    @inner
    def add(
        a: Any, q: int, first: int, keys: int, place: int, outer: int, head: int, scores: int, met: int
    ) -> Any:
        """Scale scores, add what distances and key masks add; returns the greatest of each query."""
        features = head * a.depth * a.position_bytes
        low, high = read_i32(_bucket(a, place, keys - 1)), read_i32(_bucket(a, place + 15, 0))
        for r in range(low, high + 1, rows):
            at = a.key_positions + features + 4 * r
            product(a, at, a.position_bytes, q, a.q_row_bytes, met + 64 * (r - low), 64)
        meeting = met + 64 * (high - low + 1 + rows)
        mask, mask_step = key_mask(a, outer, head)
        multiplier, greatest = splat_f32(a.multiplier), splat_f32(np.float32(-np.inf))
        for block in range(0, keys, 16):
            w = lane_address(a.k, a.k_panel, a.kv_row_bytes, first + block) + head * a.depth * a.kv_row_bytes
            begin, end = read_i32(_bucket(a, place, block + 15)), read_i32(_bucket(a, place + 15, block))
            for r in range(begin, end + 1, 16):
                x, to = a.query_positions + features + 4 * r, meeting + 4 * (r - begin)
                for row in range(0, 16, rows):
                    product(a, w + 4 * row, a.kv_row_bytes, x, a.position_bytes, to + 128 * row, 128)
            for key in range(block, least(block + 16, keys)):
                table = _bucket(a, place, key)
                score = load_f32(scores + 64 * key) * multiplier + gather_lanes(met - 64 * low, table)
                score = score + gather_numbers(meeting + 128 * (key - block) - 4 * begin, table)
                if mask != 0:
                    score = score + splat_f32(read_f32(mask + key * mask_step))
                greatest = maximum(greatest, score)
                store_f32(score, scores + 64 * key)
        return greatest

    return add


def relative_kernel(rows: int) -> Kernel:
    """The kernel whose register tiles hold `rows` keys, features or embeddings."""
    score, mix, add = score_keys(rows), mix_values(rows), _add_distances(rows)

    @inner
    def head_of_queries(
        a: Any, group: int, outer: int, head: int, block: int, scratch: int, context: int
    ) -> None:
        first, keys = keys_of(a, group, outer)
        q = lane_address(a.q, a.q_panel, a.q_row_bytes, 16 * group) + head * a.depth * a.q_row_bytes
        score(a, q, first, keys, head, scratch)
        place, met = 16 * group - first, context + 64 * a.depth
        greatest = add(a, q, first, keys, place, outer, head, scratch, met)
        if a.mask_query != 0:
            greatest = add_mask_of_queries(a, scratch, keys, outer, head, 16 * block)
        factor = exponentials(a, scratch, keys, greatest)
        mix(a, first, keys, head, scratch, context)
        scale_context(a, context, factor)

    return attend_kernel("attention_relative_f32", rows, head_of_queries, context_place)


KERNELS = {rows: relative_kernel(rows) for rows in (8, 4, 2, 1)}
