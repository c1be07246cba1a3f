"""Attention, all heads at once.

attention(q[b, s, h*d], k[b, t, h*d], v[b, t, h*e], mask?, key_positions[h, d, r]?, query_positions[h, d, r]?)
    c = q.kT by head; p = softmax(c * multiplier + mask) over t; NaN becomes 0 if `zero_masked_rows`
    `scores` says where the graph rounds on the way, None for nowhere, else three pairs or None:
    c * score_multiplier rounded, minus zero point; the same times multiplier rounded and dequantised; the sum alike
    if `probability` is a pair: p rounded, minus zero point
    p.v * context_multiplier, heads joined, stored. With `key_heads` k and v have so many heads, each for as many
    neighbouring heads of q (Ainslie et al. 2023). With `window` (before, behind, low) scores of keys j of a query i get
    low instead of the mask, unless i - before <= j <= i + behind (Beltagy et al. 2020).
    With positions, q.key_positions and k.query_positions at r = buckets[i - j + t - 1] are added to scores (He et al. 2021).
    attrs: heads, scores, score_multiplier, multiplier, probability, context_multiplier,
    zero_masked_rows, store, key_heads?, window?, buckets?
"""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import FLOAT32, Attrs, Inputs, Op, Shape, given, need
from engine.graph.ops.fused import optional_input, rounded, stored, stored_dtype, whole_numbers
from engine.graph.ops.normalisation import softmax


def _heads(x: Array, heads: int) -> Array:
    batch, length, width = x.shape
    return x.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)


def in_window(before: int, behind: int, queries: int, keys: int) -> Array:
    """bool [s, t]: whether a query looks at a key."""
    distance = np.arange(keys) - np.arange(queries)[:, None]
    return np.asarray((distance >= -before) & (distance <= behind))


def _windowed(window: tuple[int, int, float], mask: Array | np.float32, shape: Shape) -> Array:
    before, behind, low = window
    return np.where(in_window(before, behind, *shape[-2:]), mask, np.float32(low))


def _by_distance(attrs: Attrs, queries: Array, keys: Array, positions: tuple[Array, Array]) -> Array:
    """What embeddings of distances add to scores [b, h, s, t]."""
    s, t = queries.shape[2], keys.shape[2]
    index = np.array(attrs["buckets"])[np.arange(s)[:, None] - np.arange(t) + t - 1]
    met, meeting = np.matmul(queries, positions[0]), np.matmul(keys, positions[1])
    return np.asarray(
        np.take_along_axis(met, index[None, None], -1)
        + np.take_along_axis(meeting, index.T[None, None], -1).swapaxes(-1, -2)
    )


def attend(
    attrs: Attrs, q: Array, k: Array, v: Array, mask: Array | None = None, *positions: Array
) -> tuple[Array, ...]:
    """The meaning of `attention`."""
    shared = attrs["heads"] // attrs.get("key_heads", attrs["heads"])
    queries = _heads(q, attrs["heads"])
    keys, values = (np.repeat(_heads(x, attrs["heads"] // shared), shared, axis=1) for x in (k, v))
    scores = np.matmul(queries, keys.swapaxes(-1, -2))
    product, scaled, masked = attrs["scores"] or (None, None, None)
    if product is not None:
        scores = whole_numbers(scores * np.float32(attrs["score_multiplier"]), product)
    scores = scores * np.float32(attrs["multiplier"])
    if positions:
        scores = scores + _by_distance(attrs, queries, keys, (positions[0], positions[1]))
    if scaled is not None:
        scores = rounded(scores, scaled)
    if attrs.get("window") is not None:
        mask = _windowed(attrs["window"], np.float32(0) if mask is None else mask, scores.shape)
    if mask is not None:
        scores = scores + mask
    if masked is not None:
        scores = rounded(scores, masked)
    p = softmax(scores, -1)
    if attrs["zero_masked_rows"]:
        p = np.where(np.isnan(p), np.float32(0), p)
    if attrs["probability"] is not None:
        p = whole_numbers(p, attrs["probability"])
    context = np.matmul(p, values) * np.float32(attrs["context_multiplier"])
    return (stored(context.transpose(0, 2, 1, 3).reshape(*q.shape[:2], -1), attrs["store"]),)


def _attention_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    q, k, v, mask = given(inputs, 0), given(inputs, 1), given(inputs, 2), optional_input(inputs, 3)
    need(
        all(len(x.shape) == 3 and x.dtype == FLOAT32 for x in (q, k, v)),
        "q, k, v must be float32 [b, s, width]",
    )
    need(
        k.shape[:2] == v.shape[:2] and q.shape[0] == k.shape[0],
        "q, k, v do not fit",
    )
    heads, key_heads = attrs["heads"], attrs.get("key_heads", attrs["heads"])
    need(heads % key_heads == 0, "heads of keys are not shared alike")
    need(q.shape[2] * key_heads == k.shape[2] * heads, "q and k do not fit")
    need(q.shape[2] % heads == 0 and v.shape[2] % key_heads == 0, "the heads do not divide the width")
    if mask is not None:
        scores = (q.shape[0], attrs["heads"], q.shape[1], k.shape[1])
        need(mask.dtype == FLOAT32, "the mask must be float32")
        need(np.broadcast_shapes(mask.shape, scores) == scores, f"the mask must broadcast to {list(scores)}")
    buckets = attrs.get("buckets")
    need((len(inputs) == 6) == (buckets is not None), "both positions and their buckets belong together")
    if buckets is not None:
        need(len(buckets) == q.shape[1] + k.shape[1] - 1, "there must be a bucket for each distance")
        wanted = (heads, q.shape[2] // heads, max(buckets) + 1)
        need(all(given(inputs, i).type.shape == wanted for i in (4, 5)), "positions must be [h, d, r]")
    return ((*q.shape[:2], v.shape[2] // key_heads * heads),)


ATTENTION = frozenset(
    {"heads", "scores", "score_multiplier", "multiplier", "probability", "context_multiplier"}
    | {"zero_masked_rows", "store"}
)

ROWS = (
    Op(
        "attention",
        attend,
        stored_dtype,
        _attention_shape,
        (3, 6),
        attributes=ATTENTION,
        optional=frozenset({"key_heads", "window", "buckets"}),
    ),
)
