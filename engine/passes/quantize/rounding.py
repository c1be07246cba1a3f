"""Values that are rounded to 8 bits but used as f32.

    x ── quantize(s, z) ── DequantizeLinear(s, z) ── y    =>    x ── centre(s, z) ── Mul(s) ── y

Both are (q - z) * s with one rounding. Normalised rows have a better way of their own.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import is_op
from engine.passes.quantisation import Quantisation, centre, dequantised, rounding


@rule("DequantizeLinear")
def centre_and_scale(step: Node, uses: Uses) -> Value | None:
    """Round without leaving f32."""
    found = rounding(step[0])
    if found is not None:
        waits = is_op(found[0], "layer_norm") and found[0].node.attrs["quantize"] is None
        return None if waits else _rounded(found[0], found[1], step.name)
    read = dequantised(step[0])
    if read is None or not is_op(read.source, "layer_norm"):
        return None
    rows = read.source.node[0]
    unrounded = not rows.node.attrs["rounded"] and uses.get(rows, 0)
    return _rounded(rows, read.quantisation, step.name) if unrounded else None


def _rounded(x: Value, parameters: Quantisation, name: str) -> Value:
    scale = constant(np.asarray(parameters.scale))
    return node("Mul", centre(x, parameters, name), scale, name=name)[0]


RULES = (centre_and_scale,)
