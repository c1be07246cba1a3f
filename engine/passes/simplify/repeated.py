"""A constant that says the same at each position says it once.

x[b,s,k] ── Add(c[b,s,k], the same row everywhere) ── y    =>    x ── Add(c[k]) ── y

Exporters write the embedding of a token type that nobody feeds like this. Where it stands at every position it would keep
lanes from leaving padding out; a row is part of the step before.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, constant, node, rule
from engine.graph.pattern import operands


def _row(value: Value) -> Value | None:
    """The only row of a constant; None where rows differ, or where it is one already."""
    array = value.array
    if array is None or array.ndim < 2 or not 1 < array.shape[-1] < array.size:
        return None
    rows = array.reshape(-1, array.shape[-1])
    return (
        constant(rows[0].copy(), value.node.name)
        if np.array_equal(rows, rows[:1].repeat(len(rows), 0))
        else None
    )


@rule("Add", "Div", "Mul", "Sub")
def narrow_constant(found: Node, _uses: Uses) -> Value | None:
    """Either operand, where the other has the result's shape."""
    sides = list(operands(found))
    for place, other in ((1, 0), (0, 1)):
        if sides[other].array is not None or sides[other].type != found.types[0]:
            continue
        row = _row(sides[place])
        if row is not None:
            sides[place] = row
            return node(found.op, *sides, name=found.name, **found.attrs)[0]
    return None


RULES = (narrow_constant,)
