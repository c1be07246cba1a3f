"""Norms of single heads (Qwen3's queries and keys) before the heads are split: positions stay lanes.

    x[b,s,h*d] ── Reshape[b,s,h,d] ── layer_norm(g[d]) ── y    =>    x ── layer_norm(g, heads = h) ── Reshape ── y

    x ── Reshape ── Reshape[as x] ── y                         =>    x ── y

So the Reshape stands where attention and rotation look for it.
"""

from __future__ import annotations

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op


@rule("layer_norm")
def normalise_before_split(norm: Node, _uses: Uses) -> Value | None:
    """Each head by itself, side by side."""
    split = first_input(norm[0])
    if len(norm.types) != 1 or "heads" in norm.attrs or not is_op(split, "Reshape") or len(split.shape) != 4:
        return None
    x, (batch, length, heads, depth) = first_input(split), split.shape
    if x.type.shape != (batch, length, heads * depth):
        return None
    y = node("layer_norm", x, *norm.inputs[1:], name=norm.name, **norm.attrs, heads=heads)[0]
    return node("Reshape", y, name=norm.name, shape=split.shape)[0]


@rule("Reshape")
def split_and_joined(join: Node, _uses: Uses) -> Value | None:
    """What a split was made of, where it is joined again: rotation may have asked for it already."""
    split = first_input(join[0])
    x = first_input(split) if is_op(split, "Reshape") else None
    return x if x is not None and x.type == join.types[0] else None


RULES = (normalise_before_split, split_and_joined)
