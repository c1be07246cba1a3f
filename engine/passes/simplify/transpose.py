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


@rule("Reshape")
def unbatch_transpose(reshape: Node, _uses: Uses) -> Value | None:
    """Swap the last two axes where they are, when a reshape joined the ones before only for that.

    x[b,h,s,d] ── Reshape[b*h,s,d] ── Transpose(0,2,1) ── Reshape[b,h,d,s] ── y
    x[b,h,s,d] ── Transpose(0,1,3,2) ── y
    """
    transpose = first_input(reshape[0])
    if not is_op(transpose, "Transpose") or tuple(transpose.node.attrs["perm"]) != (0, 2, 1):
        return None
    joined = first_input(transpose)
    if not is_op(joined, "Reshape"):
        return None
    x = first_input(joined)
    if len(x.shape) != 4 or joined.shape[1:] != x.shape[2:] or reshape.types[0].shape != _swapped(x.shape):
        return None
    return node("Transpose", x, name=reshape.name, perm=(0, 1, 3, 2))[0]


def _swapped(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-2], shape[-1], shape[-2])


RULES = (drop_transpose, merge_transposes, unbatch_transpose)
