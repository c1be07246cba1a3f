"""Rows of an 8-bit table.

ids ── Gather(E u8[v,k]) ── DequantizeLinear ── y    =>    ids ── embedding(E, quantisation) ── y
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op
from engine.passes.quantisation import per_tensor


@rule("DequantizeLinear")
def quantised_embedding(step: Node, _uses: Uses) -> Value | None:
    """Dequantise the rows that are looked up, in the same step."""
    gather, parameters = first_input(step[0]), per_tensor(step)
    if parameters is None or not is_op(gather, "Gather") or gather.node.attrs["axis"] != 0:
        return None
    table, ids = first_input(gather), gather.node.inputs[1]
    if table.array is None or table.dtype not in (np.int8, np.uint8) or len(table.shape) != 2:
        return None
    return node("embedding", ids, table, name=gather.node.name, quantisation=parameters.pair)[0]


RULES = (quantised_embedding,)
