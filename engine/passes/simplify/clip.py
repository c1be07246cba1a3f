"""Bounds are the larger and the smaller of two numbers.

x ── Clip(low, high) ── y    =>    x ── Max(low) ── Min(high) ── y
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input


@rule("Clip")
def clip_as_bounds(clip: Node, _uses: Uses) -> Value | None:
    """Of float32, with bounds that are scalars: a high bound below the low one wins, as it does in Clip."""
    x = first_input(clip[0])
    if x.dtype != np.float32 or any(bound is not None and bound.shape != () for bound in clip.inputs[1:]):
        return None
    # The bound stands first: where x is NaN the kernels' comparisons answer the second, which is what Clip gives.
    for op, bound in zip(("Max", "Min"), clip.inputs[1:], strict=False):
        if bound is not None:
            x = node(op, bound, x, name=clip.name)[0]
    return x


RULES = (clip_as_bounds,)
