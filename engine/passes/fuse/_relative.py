"""What disentangled attention (He et al. 2021, DeBERTa) adds to its scores: products with embeddings of distances.

    q[b,h,s,d] ── MatMul(P) ── GatherElements(bucket of i - j) ── Div(c) ──────────────┐
    k[b,h,s,d] ── MatMul(Q) ── GatherElements(the same) ── Transpose ── Div(c) ── Add ─┴─ Add(scores)

    =>   attention(q, k, v, mask, P / c, Q / c; buckets)

P and Q [h, d, r] are constants. Buckets do not fall with the distance, and rise by one at most: neighbouring queries
then meet neighbouring embeddings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from engine.graph import Array, Value, constant
from engine.graph.pattern import first_input, is_op, operands, scalar
from engine.passes.fuse._heads import ROWS, Operand, Split, scaling, split_heads

_SWAPPED = (0, 1, 3, 2)


@dataclass(frozen=True)
class Relative:
    """The embeddings that queries and keys meet, [h, d, r], and which of them for i - j from 1 - t to s - 1."""

    key_positions: Value
    query_positions: Value
    buckets: tuple[int, ...]


@dataclass(frozen=True)
class _Term:
    """One of the two sums: whose embeddings, and the buckets [s, t]."""

    positions: Array
    buckets: Array


def relative_terms(mask: Value, q: Split, k: Split) -> tuple[Relative, tuple[Value, ...]] | None:
    """Both sums, and what else is added; None where `mask` does not hold both."""
    parts = list(_parts(mask))
    by_queries = [(part, _term(part, q, is_swapped=False)) for part in parts]
    by_keys = [(part, _term(part, k, is_swapped=True)) for part in parts]
    first = [(part, term) for part, term in by_queries if term is not None]
    second = [(part, term) for part, term in by_keys if term is not None]
    if len(first) != 1 or len(second) != 1 or not np.array_equal(first[0][1].buckets, second[0][1].buckets):
        return None
    table = _by_distance(first[0][1].buckets)
    if table is None:
        return None
    low, high = int(table.min()), int(table.max())
    sides = [
        constant(np.ascontiguousarray(term.positions[..., low : high + 1]), part.node.name)
        for part, term in (first[0], second[0])
    ]
    others = [part for part in parts if part not in (first[0][0], second[0][0]) and scalar(part) != 0]
    return Relative(sides[0], sides[1], tuple((table - low).tolist())), tuple(others)


def _parts(value: Value) -> Iterable[Value]:
    """The operands of a sum."""
    if not is_op(value, "Add"):
        yield value
        return
    for side in operands(value.node):
        yield from _parts(side)


def _unscaled(value: Value, factor: float) -> tuple[Value, float]:
    found = scaling(value)
    return (value, factor) if found is None else _unscaled(found[0], factor * found[1])


def _term(part: Value, side: Split, *, is_swapped: bool) -> _Term | None:
    value, factor = _unscaled(part, 1.0)
    if is_swapped:
        if not is_op(value, "Transpose") or tuple(value.node.attrs["perm"]) != _SWAPPED:
            return None
        value, factor = _unscaled(first_input(value), factor)
    if not is_op(value, "GatherElements") or value.node.attrs["axis"] != len(value.shape) - 1:
        return None
    product, index = operands(value.node)
    product, factor = _unscaled(product, factor)
    if index.array is None or not is_op(product, "MatMul"):
        return None
    left, right = operands(product.node)
    split = split_heads(Operand(left, None), ROWS) if len(left.shape) == 4 else None
    if split is None or split.leaf != side.leaf or split.heads != side.heads or split.repeated != 1:
        return None
    positions, buckets = _each_alike(right.array, 1, left.shape), _each_alike(index.array, 2, left.shape)
    if positions is None or buckets is None or positions.dtype != np.float32:
        return None
    scaled = positions * np.float32(factor * split.multiplier)
    return _Term(scaled, buckets.T if is_swapped else buckets)


def _each_alike(array: Array | None, axes: int, shape: tuple[int, ...]) -> Array | None:
    """The part that is the same along the first axes; heads stand beside each other, or apart if there is one alone."""
    if array is None or array.ndim != 4 or array.shape[:2] != shape[:2]:
        return None
    first = array[(0,) * axes]
    return first if np.array_equal(array, np.broadcast_to(first, array.shape)) else None


def _by_distance(buckets: Array) -> Array | None:
    """The bucket of i - j from 1 - t to s - 1, if [s, t] are decided by that alone and rise as they should."""
    queries, keys = buckets.shape
    table = np.concatenate([buckets[0, :0:-1], buckets[:, 0]])
    distance = np.arange(queries)[:, None] - np.arange(keys) + keys - 1
    rises = np.diff(table)
    is_fine = np.array_equal(table[distance], buckets) and ((rises == 0) | (rises == 1)).all()
    return table if is_fine and queries == keys and buckets.min() >= 0 else None
