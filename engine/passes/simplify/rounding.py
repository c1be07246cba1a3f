"""Rounding moves behind movement, so that it stands beside who computes or who reads.

    q ── DequantizeLinear ── Transpose ── y      =>    q ── Transpose ── DequantizeLinear ── y
    x ── QuantizeLinear ── Transpose ── y        =>    x ── Transpose ── QuantizeLinear ── y
    q ── DequantizeLinear ── QuantizeLinear ── y    =>    q ── y        with equal parameters

The last is exact: (q - z) * s / s differs from q - z by far less than a half.
"""

from __future__ import annotations

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op
from engine.passes.quantisation import per_tensor


@rule("Reshape", "Transpose")
def move_before_rounding(move: Node, uses: Uses) -> Value | None:
    """Move first, round afterwards. Not where others read the rounded value, nor for weights."""
    step = first_input(move[0])
    if (
        not is_op(step, "DequantizeLinear", "QuantizeLinear")
        or uses[step] != 1
        or per_tensor(step.node) is None
    ):
        return None
    x = first_input(step)
    if x.array is not None:
        return None
    moved = node(move.op, x, name=move.name, **move.attrs)[0]
    # With one scale for all, the axis says nothing; 0 is there whatever the rank becomes.
    return node(step.op, moved, *step.node.inputs[1:], name=step.node.name, **{**step.node.attrs, "axis": 0})[
        0
    ]


@rule("QuantizeLinear")
def drop_second_rounding(quantize: Node, _uses: Uses) -> Value | None:
    """Keep 8-bit numbers that are only dequantised to be quantised alike."""
    x = first_input(quantize[0])
    if not is_op(x, "DequantizeLinear"):
        return None
    source, parameters = first_input(x), per_tensor(quantize)
    same = parameters is not None and parameters == per_tensor(x.node)
    return source if same and source.type == quantize.types[0] else None


RULES = (move_before_rounding, drop_second_rounding)
