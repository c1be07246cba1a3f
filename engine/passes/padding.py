"""Which input says what is padding: the one whose zeros every attention, and every sum over positions, leaves out.

    attention_mask [b, t] ─┬─ any nodes ── [b, 1, 1, t] ── mask of every attention
                           └─ any nodes ── [b, t, 1] ───── weights of every weighted_sum

Nothing is recognised by its form: the nodes between are run on masks of zeros and ones. For attention they must give
0 where the mask is one and a number so low that no probability is left where it is zero; for sums 0 where it is zero.
A mask that differs from query to query, as one with a bias of relative positions does, may give any numbers where query
and key are tokens: all keys of padding must be out of reach of each of these queries.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.graph import Array, Graph, Value, evaluate, order
from engine.passes.mask import LOWEST, MASK

ATTENTIONS = ("attention", "quantized_attention")
# exp(score + LOW - greatest) is exactly 0 in float32 for scores that differ by less than 800.
LOW = -1000.0
# Which input of weighted_sum its weights are.
WEIGHTS = 1


def padding_input(graph: Graph) -> str | None:
    """Name of the integer or boolean input [b, t] whose zeros are left out everywhere; None if there is none."""
    readers = [found for found in graph.nodes() if found.op in ATTENTIONS]
    if any((found.attrs["scores"] or (None,))[-1] is not None for found in readers):
        # Rounded behind the mask, a score is never lower than the least of 256 steps.
        return None
    masks = {found.inputs[MASK] if len(found.inputs) > MASK else None for found in readers}
    weights = {found.inputs[WEIGHTS] for found in graph.nodes() if found.op == "weighted_sum"}
    inputs = {None if value is None else _source(value) for value in masks | weights}
    source = inputs.pop() if len(inputs) == 1 and masks else None
    if source is None:
        return None
    b, t = source.shape
    checked = [
        *((mask, (b, 1, 1, t), _rule(mask)) for mask in masks),
        *((w, (b, t, 1), _weighs) for w in weights),
    ]
    if not all(value is not None and _holds(value, source, shape, rule) for value, shape, rule in checked):
        return None
    return source.node.name


def _masks(found: Array, kept: Array) -> bool:
    return bool((found[kept] == 0).all() and (found[~kept] <= LOW).all())


def _rule(mask: Value | None) -> Callable[[Array, Array], bool]:
    """What must hold of a mask: by keys, or by queries and keys."""
    shape = None if mask is None else mask.type.shape
    return _masks_of_queries if shape is not None and len(shape) == 4 and shape[2] > 1 else _masks


def _masks_of_queries(found: Array, kept: Array) -> bool:
    """Of each token's row [t], whether padding is as low as can be, and some token is not."""
    if found.ndim != 4 or found.shape[2] != kept.shape[-1] or found.shape[0] not in (1, len(kept)):
        return False
    whole = np.broadcast_to(found, (len(kept), *found.shape[1:]))
    rows = np.moveaxis(whole, 2, 1)[kept[:, 0, 0]]
    keys = np.repeat(kept[:, 0], kept[:, 0, 0].sum(1), axis=0)
    unseen = np.where(keys, LOWEST, rows)
    return bool((unseen <= LOWEST).all() and (np.where(keys, rows, LOWEST).max(-1) > LOW).all())


def _weighs(found: Array, kept: Array) -> bool:
    return bool((found[~kept] == 0).all())


def _source(value: Value) -> Value | None:
    """The only input that this value is computed from, if it is whole numbers [b, t]."""
    found = [entry[0] for entry in order([value]) if entry.op == "Input"]
    if len(found) != 1 or found[0].dtype.kind not in "iub" or len(found[0].shape) != 2:
        return None
    return found[0]


def _holds(value: Value, source: Value, shape: tuple[int, ...], rule: Callable[[Array, Array], bool]) -> bool:
    """Whether the value, of this shape or by queries, keeps the rule for every probe of its source."""
    if value.type.shape != shape and rule is not _masks_of_queries:
        return False
    cone = Graph((source,), (value,), ("value",))
    # A wholly masked sequence may be handled apart, so no probe has one.
    random = np.random.default_rng(7).integers(0, 2, source.shape)
    random[:, 0] = 1
    first = np.zeros(source.shape)
    first[:, 0] = 1
    for probe in (np.ones(source.shape), first, random):
        try:
            (found,) = evaluate(cone, {source.node.name: probe.astype(source.dtype)})
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
            return False
        if not rule(found, probe.reshape(shape) != 0):
            return False
    return True
