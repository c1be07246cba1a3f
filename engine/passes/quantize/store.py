"""Rounding the results of a step in the step itself.

    linear ── quantize(s, z) ── y    =>    linear(store = ("quantized", s, z)) ── y
    linear ── centre(s, z) ── y      =>    linear(store = ("centred", s, z)) ── y
    linear ── rounded(s, z) ── y     =>    linear(store = ("rounded", s, z)) ── y

The other products and attention alike. Not when another node reads the unrounded results.
"""

from __future__ import annotations

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op

FORMS = {"quantize": "quantized", "centre": "centred", "rounded": "rounded"}
COMPUTING = (
    "linear",
    "weight_only_linear",
    "quantized_linear",
    "dynamic_quantized_linear",
    "depthwise",
    "quantized_depthwise",
    "attention",
    "quantized_attention",
)


@rule(*FORMS)
def store_rounded(step: Node, uses: Uses) -> Value | None:
    """Let the step that computes the numbers store them rounded."""
    x = first_input(step[0])
    if not is_op(x, *COMPUTING) or uses[x] != 1 or x.node.attrs["store"] is not None:
        return None
    store = (FORMS[step.op], step.attrs["scale"], step.attrs["zero_point"])
    return node(x.op, *x.node.inputs, name=x.node.name, **{**x.node.attrs, "store": store})[0]


RULES = (store_rounded,)
