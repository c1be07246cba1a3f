"""Features taken one by one are slices, which cost nothing of a panel.

    x [..., k] ── Gather(i, axis = -1) ── y [...]    =>    x ── Slice(i : i + 1) ── Reshape ── y

Several neighbours in order are one slice too. Where the index is computed, Gather stays.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input


@rule("Gather")
def slice_features(gather: Node, _uses: Uses) -> Value | None:
    """A Gather of neighbouring features."""
    x, index = first_input(gather[0]), gather.inputs[1]
    chosen = None if index is None else index.array
    if chosen is None or x.array is not None or x.type.shape is None or not chosen.size or chosen.ndim > 1:
        return None
    axis, k = len(x.shape) - 1, x.shape[-1]
    if gather.attrs["axis"] != axis:
        return None
    first = int(chosen.flat[0])
    first += k if first < 0 else 0
    wanted = chosen.reshape(-1).astype(np.int64)
    if not np.array_equal(wanted + np.where(wanted < 0, k, 0), np.arange(first, first + chosen.size)):
        return None
    last = first + chosen.size
    if first < 0 or last > k:
        return None
    part = node("Slice", x, name=gather.name, axes=(axis,), starts=(first,), ends=(last,), steps=(1,))[0]
    shape = gather.types[0].shape
    return part if part.shape == shape else node("Reshape", part, name=gather.name, shape=shape)[0]


RULES = (slice_features,)
