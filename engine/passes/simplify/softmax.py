"""Softmax over features: its axis is brought to the end.

x ── Softmax(axis) ── y    =>    x ── Transpose ── Softmax(-1) ── Transpose ── y
"""

from __future__ import annotations

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input


@rule("Softmax")
def over_features(step: Node, _uses: Uses) -> Value | None:
    """Exchange the axis with the last one."""
    x = first_input(step[0])
    rank = len(step.types[0].shape or ())
    axis = step.attrs["axis"]
    if rank == 0 or axis in (-1, rank - 1):
        return None
    perm = list(range(rank))
    perm[axis], perm[-1] = perm[-1], perm[axis]
    turned = node("Transpose", x, name=step.name, perm=tuple(perm))[0]
    soft = node("Softmax", turned, name=step.name, axis=rank - 1)[0]
    return node("Transpose", soft, name=step.name, perm=tuple(perm))[0]


RULES = (over_features,)
