"""Transposes in a row are one.

x ── Transpose(p) ── Transpose(q) ── y    =>    x ── Transpose(p[q]) ── y
"""

from __future__ import annotations

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op


@rule("Transpose")
def drop_transpose(transpose: Node, _uses: Uses) -> Value | None:
    """Read what a transpose reads, if it keeps the order of axes."""
    perm = tuple(transpose.attrs["perm"])
    return first_input(transpose[0]) if perm == tuple(range(len(perm))) else None


@rule("Transpose")
def merge_transposes(transpose: Node, _uses: Uses) -> Value | None:
    """Transpose what the transpose before reads."""
    x = first_input(transpose[0])
    if not is_op(x, "Transpose"):
        return None
    inner = x.node.attrs["perm"]
    perm = tuple(inner[axis] for axis in transpose.attrs["perm"])
    return node("Transpose", first_input(x), name=transpose.name, perm=perm)[0]


RULES = (drop_transpose, merge_transposes)
