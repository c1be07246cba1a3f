"""Which input says what is padding: the one whose zeros every attention leaves out.

    attention_mask [b, t] ── any nodes ── [b, 1, 1, t] ── mask of every attention

Nothing is recognised by its form: the nodes between are run on masks of zeros and ones, and must give 0 where the
mask is one and a number so low that no probability is left where it is zero.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Array, Graph, Value, evaluate, order
from engine.passes.mask import MASK

ATTENTIONS = ("attention", "quantized_attention")
# exp(score + LOW - greatest) is exactly 0 in float32 for scores that differ by less than 800.
LOW = -1000.0


def padding_input(graph: Graph) -> str | None:
    """Name of the integer or boolean input [b, t] that masks the keys of every attention; None if there is none."""
    readers = [found for found in graph.nodes() if found.op in ATTENTIONS]
    if any((found.attrs["scores"] or (None,))[-1] is not None for found in readers):
        # Rounded behind the mask, a score is never lower than the least of 256 steps.
        return None
    masks = {found.inputs[MASK] if len(found.inputs) > MASK else None for found in readers}
    inputs = {None if mask is None else _source(mask) for mask in masks}
    source = inputs.pop() if len(inputs) == 1 else None
    if source is None or not all(mask is not None and _leaves_out(mask, source) for mask in masks):
        return None
    return source.node.name


def _source(mask: Value) -> Value | None:
    """The only input that the mask is computed from, if it is [b, t] and the mask [b, 1, 1, t]."""
    found = [entry[0] for entry in order([mask]) if entry.op == "Input"]
    if len(found) != 1 or mask.type.shape is None or found[0].dtype.kind not in "iub":
        return None
    b, *middle, t = found[0].shape if len(found[0].shape) > 1 else (0, 0, 0)
    return found[0] if not middle and mask.shape == (b, 1, 1, t) else None


def _leaves_out(mask: Value, source: Value) -> bool:
    cone = Graph((source,), (mask,), ("mask",))
    # A wholly masked sequence may be handled apart, so no probe has one.
    random = np.random.default_rng(7).integers(0, 2, source.shape)
    random[:, 0] = 1
    first = np.zeros(source.shape)
    first[:, 0] = 1
    return all(_is_left_out(cone, source, probe) for probe in (np.ones(source.shape), first, random))


def _is_left_out(cone: Graph, source: Value, probe: Array) -> bool:
    try:
        (found,) = evaluate(cone, {source.node.name: probe.astype(source.dtype)})
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        return False
    kept = probe[:, None, None, :] != 0
    return bool((found[kept] == 0).all() and (found[~kept] <= LOW).all())
