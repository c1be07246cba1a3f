"""Reshapes in a row are one, and one that changes nothing is none.

x ── Reshape ── Reshape(shape) ── y    =>    x ── Reshape(shape) ── y
"""

from __future__ import annotations

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op


@rule("Reshape")
def drop_reshape(reshape: Node, _uses: Uses) -> Value | None:
    """Read what a reshape reads, if its shape is the same."""
    x = first_input(reshape[0])
    return x if x.type == reshape.types[0] else None


@rule("Reshape")
def merge_reshapes(reshape: Node, _uses: Uses) -> Value | None:
    """Reshape what the reshape before reads."""
    x = first_input(reshape[0])
    if not is_op(x, "Reshape"):
        return None
    return node("Reshape", first_input(x), name=reshape.name, shape=reshape.attrs["shape"])[0]


RULES = (drop_reshape, merge_reshapes)
