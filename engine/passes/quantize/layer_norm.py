"""Normalised rows leave their step as f32 and as 8 bits at once.

x ── layer_norm ─┬─ quantize(s, z) ── linear       x ── layer_norm(quantize = (s, z)) ─┬─ linear
                 └─ residual                  =>                                       └─ residual

layer_norm(quantize) ── DequantizeLinear ── residual    =>    layer_norm(quantize, rounded) ── residual
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op
from engine.passes.quantisation import dequantised, per_tensor


def _again(norm: Node, **attrs: Any) -> Node:
    return node("layer_norm", *norm.inputs, name=norm.name, **{**norm.attrs, **attrs})


@rule("quantize")
def quantize_rows(step: Node, _uses: Uses) -> Mapping[Value, Value] | None:
    """Give the rows a second, quantised output."""
    rows, parameters = first_input(step[0]), per_tensor(step)
    if not is_op(rows, "layer_norm") or rows.node.attrs["quantize"] is not None or parameters is None:
        return None
    if "heads" in rows.node.attrs:
        return None
    both = _again(rows.node, quantize=parameters.pair)
    return {rows: both[0], step[0]: both[1]}


@rule("DequantizeLinear")
def read_rounded_rows(step: Node, uses: Uses) -> Mapping[Value, Value] | None:
    """Let the f32 output be the rounded rows, if nobody reads the unrounded ones."""
    found = dequantised(step[0])
    if found is None or not is_op(found.source, "layer_norm"):
        return None
    norm = found.source.node
    if norm.attrs["quantize"] != found.quantisation.pair or norm.attrs["rounded"] or uses.get(norm[0], 0):
        return None
    both = _again(norm, rounded=True)
    return {step[0]: both[0], norm[1]: both[1]}


RULES = (quantize_rows, read_rounded_rows)
