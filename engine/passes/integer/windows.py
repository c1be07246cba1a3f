"""Windows of dequantised pixels are dequantised windows, padded with the zero point.

    xq ── DequantizeLinear(s, z) ── windows ── y    =>    xq ── windows(z) ── DequantizeLinear(s, z) ── y

Exact: what is beyond the image is 0, and (z - z) * s is 0. The products behind then see one dequantised operand.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import first_input
from engine.passes.quantisation import dequantised

QUAD = 4


@rule("windows")
def windows_of_bytes(step: Node, _uses: Uses) -> Value | None:
    """Lay bytes side by side. Not where a tap's channels are no whole quads."""
    found = dequantised(first_input(step[0]))
    if found is None or len(step.inputs) > 1 or step.attrs["channels"] % QUAD:
        return None
    fill = constant(np.asarray(found.quantisation.zero_point, np.uint8), step.name)
    seen = node("windows", found.source, fill, name=step.name, **step.attrs)[0]
    read = first_input(step[0]).node
    return node("DequantizeLinear", seen, *read.inputs[1:], name=read.name, **read.attrs)[0]


RULES = (windows_of_bytes,)
