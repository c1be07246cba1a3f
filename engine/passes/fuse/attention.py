"""Attention, from the split of the heads to their join.

    q ── Reshape ── Transpose ──┐
    k ── Reshape ── Transpose ── MatMul ── Mul(c) ── Add(mask) ── Softmax ──┐
    v ── Reshape ── Transpose ───────────────────────────────────────── MatMul ── Transpose ── Reshape ── y

    =>   q, k, v, mask ── attention(heads, multiplier) ── y

The products may be quantised (QuantizeLinear and DequantizeLinear around a MatMul, or MatMulInteger with Cast
and Mul): then q, k and v are centred 8-bit numbers, products are exact, and scales are in the multipliers.
Scores may be rounded to 8 bits as they come, scaled, and masked: static quantisers do so behind every node.
Heads may share keys and values, which are then repeated before the products.
Embeddings of distances may be multiplied besides (_relative.py).
The scaling may stand on the scores, on q, on q and k, before or behind the mask. The mask stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import either_way, first_input, is_op, is_private, scalar
from engine.passes.fuse._heads import COLUMNS, ROWS, Operand, Product, Split, product_of, scaling, split_heads
from engine.passes.fuse._relative import Relative, relative_terms
from engine.passes.quantisation import Quantisation, centre, rounding

# Adding so low a number to a finite score gives the number itself.
LOWEST = -1e30
# How many masks, scalings and roundings may stand between a product and its softmax; both operands of a sum are tried.
DEPTH = 8


@dataclass(frozen=True)
class _Scores:
    """product * multiplier + masks, which are computed from leaves.

    rounded, scaled, masked   where the product, the scaled product and the sum are rounded to 8 bits
    """

    product: Product
    multiplier: float = 1.0
    masks: tuple[Value, ...] = ()
    leaves: tuple[Value, ...] = ()
    rounded: Quantisation | None = None
    scaled: Quantisation | None = None
    masked: Quantisation | None = None
    relative: Relative | None = None

    def then_rounded(self, parameters: Quantisation) -> _Scores | None:
        """Rounded once more; None where it was rounded at this place already."""
        if self.masks:
            return replace(self, masked=parameters) if self.masked is None else None
        if self.scaled is not None:
            return None
        if self.multiplier != 1:
            return replace(self, scaled=parameters)
        return replace(self, rounded=parameters) if self.rounded is None else None


@dataclass(frozen=True)
class _Probability:
    """The softmax of scores, and what is done to it before it meets the values."""

    softmax: Value
    zero_masked_rows: bool


@rule("Reshape")
def find_attention(join: Node, uses: Uses) -> Value | None:
    """The whole of it. Not where anything inside is read by others or is an output."""
    transpose = first_input(join[0])
    if not is_op(transpose, "Transpose") or tuple(transpose.node.attrs["perm"]) != ROWS:
        return None
    context = product_of(first_input(transpose))
    probability = None if context is None else _probability(context.left.value)
    scores = None if probability is None else _scores(first_input(probability.softmax))
    if context is None or probability is None or scores is None:
        return None
    q, k = split_heads(scores.product.left, ROWS), split_heads(scores.product.right, COLUMNS)
    v = split_heads(context.right, ROWS)
    if q is None or k is None or v is None:
        return None
    scores = _with_relative(scores, q, k)
    leaves = {q.leaf, k.leaf, v.leaf, *scores.leaves}
    if not _fits((q, k, v), scores.masks) or not is_private(join, leaves, uses):
        return None
    joined = _attention(join, (q, k, v), scores, (context, probability))
    if joined.type == join.types[0]:
        return joined
    # The leading axes may be joined too, for a Gemm.
    return node("Reshape", joined, name=join.name, shape=tuple(join.types[0].shape or ()))[0]


def _with_relative(scores: _Scores, q: Split, k: Split) -> _Scores:
    """The scores, with what is added for distances apart from their masks, where nothing is rounded."""
    sides = (scores.product.left, scores.product.right)
    if (
        scores.multiplier != 1
        or k.repeated != 1
        or any(side.quantisation is not None for side in sides)
        or scores.rounded
    ):
        return scores
    for mask in scores.masks:
        found = relative_terms(mask, q, k) if mask in scores.leaves else None
        if found is not None:
            masks, leaves = (tuple(v for v in all_ if v != mask) for all_ in (scores.masks, scores.leaves))
            return replace(scores, masks=(*masks, *found[1]), leaves=(*leaves, *found[1]), relative=found[0])
    return scores


def _fits(splits: tuple[Split, Split, Split], masks: tuple[Value, ...]) -> bool:
    q, k, v = splits
    if (
        not q.heads == k.heads * k.repeated == v.heads * v.repeated
        or k.heads != v.heads
        or any(split.source.dtype != np.float32 for split in splits)
    ):
        return False
    scores = (q.source.shape[0], q.heads, q.source.shape[1], k.source.shape[1])
    return q.repeated == 1 and all(_broadcasts(mask, scores) for mask in masks)


def _broadcasts(mask: Value, scores: tuple[int, ...]) -> bool:
    shape = mask.type.shape
    if shape is None or mask.dtype != np.float32 or len(shape) > len(scores):
        return False
    return all(size in (1, whole) for size, whole in zip(shape[::-1], scores[::-1], strict=False))


def _probability(value: Value) -> _Probability | None:
    """Softmax over the last axis, perhaps with NaN rows replaced by zero."""
    if is_op(value, "Where"):
        missing, zero, inner = value.node.inputs
        guarded = missing is not None and is_op(missing, "IsNaN") and first_input(missing) == inner
        if not guarded or scalar(zero) != 0 or inner is None:
            return None
        found = _probability(inner)
        return None if found is None else _Probability(found.softmax, True)
    if not is_op(value, "Softmax") or value.node.attrs["axis"] != len(value.shape) - 1:
        return None
    return _Probability(value, False)


def _scores(value: Value, depth: int = DEPTH) -> _Scores | None:
    scaled = scaling(value)
    product = product_of(value)
    if product is not None:
        return _Scores(product)
    if depth == 0:
        return None
    if scaled is not None:
        inner = _scores(scaled[0], depth - 1)
        return None if inner is None else _times(inner, scaled[1], value)
    if is_op(value, "Add"):
        for scores, mask in either_way(value.node):
            inner = _scores(scores, depth - 1)
            if inner is not None and inner.masked is None and scores.type == value.type:
                return replace(inner, masks=(*inner.masks, mask), leaves=(*inner.leaves, mask))
    if is_op(value, "Where"):
        return _replaced(value, depth - 1)
    found = rounding(value)
    inner = None if found is None else _scores(found[0], depth - 1)
    return None if found is None or inner is None else inner.then_rounded(found[1])


def _times(scores: _Scores, factor: float, value: Value) -> _Scores | None:
    """Scores scaled after masks were added: the masks are scaled too. None behind a rounding that comes later."""
    if scores.scaled is not None or scores.masked is not None:
        return None
    number = constant(np.asarray(factor, np.float32))
    masks = tuple(node("Mul", mask, number, name=value.node.name)[0] for mask in scores.masks)
    return replace(scores, multiplier=scores.multiplier * factor, masks=masks)


def _replaced(value: Value, depth: int) -> _Scores | None:
    """Scores replaced by a very low number where a condition holds: the number is added instead."""
    condition, low, scores = value.node.inputs
    number = scalar(low)
    inner = None if scores is None or number is None or number > LOWEST else _scores(scores, depth)
    if inner is None or condition is None or scores is None or scores.type != value.type:
        return None
    if inner.masked is not None:
        return None
    mask = node("Where", condition, low, constant(np.zeros((), np.float32)), name=value.node.name)[0]
    return replace(inner, masks=(*inner.masks, mask), leaves=(*inner.leaves, condition))


def _attention(
    join: Node, splits: tuple[Split, Split, Split], scores: _Scores, context: tuple[Product, _Probability]
) -> Value:
    q, k, v = splits
    sides = (scores.product.left, scores.product.right, context[0].right)
    inputs = [_centred(split, side, join.name) for split, side in zip(splits, sides, strict=True)]
    whole = scores.product.multiplier * q.multiplier * k.multiplier
    rounded, probability = scores.rounded, context[0].left.quantisation
    places = (scores.rounded, scores.scaled, scores.masked)
    shared = {} if k.repeated == 1 else {"key_heads": k.heads}
    distances = scores.relative
    after = scores.multiplier * (1.0 if rounded is None else float(rounded.scale))
    return node(
        "attention",
        *inputs,
        _sum(scores.masks, join.name),
        *(() if distances is None else (distances.key_positions, distances.query_positions)),
        name=join.name,
        heads=q.heads,
        **shared,
        **({} if distances is None else {"buckets": distances.buckets}),
        scores=tuple(_pair(place) for place in places) if any(places) else None,
        score_multiplier=np.float32(1 if rounded is None else whole),
        multiplier=np.float32(after if rounded is not None else whole * after),
        probability=_pair(probability),
        context_multiplier=np.float32(context[0].multiplier * v.multiplier),
        zero_masked_rows=context[1].zero_masked_rows,
        store=None,
    )[0]


def _pair(parameters: Quantisation | None) -> tuple[np.float32, int] | None:
    return None if parameters is None else parameters.pair


def _centred(split: Split, operand: Operand, name: str) -> Value:
    return split.source if operand.quantisation is None else centre(split.source, operand.quantisation, name)


def _sum(masks: tuple[Value, ...], name: str) -> Value | None:
    total = None
    for mask in masks:
        total = mask if total is None else node("Add", total, mask, name=name)[0]
    return total


RULES = (find_attention,)
