"""Attention on 8-bit numbers as they are stored, where the graph rounds queries, keys, values and probabilities.

    linear(store centred) ── q ──┐                      linear(store quantized) ── q ──┐
    linear(store centred) ── k ── attention ── y   =>   linear(store quantized) ── k ── quantized_attention ── y
    linear(store centred) ── v ──┘                      linear(store quantized) ── v ──┘

Not where another node reads q, k or v, where heads share keys, where probabilities have a zero point, or where a
head's features are no multiple of four.
"""

from __future__ import annotations

from engine.graph import Node, Uses, Value, node, rule

_ZEROS = ("q_zero", "k_zero", "v_zero")


def _is_centred(value: Value | None, uses: Uses) -> bool:
    if (
        value is None
        or value.op not in ("linear", "weight_only_linear", "quantized_linear")
        or uses[value] != 1
    ):
        return False
    store = value.node.attrs["store"]
    return store is not None and store[0] == "centred"


def _quantized(value: Value) -> Value:
    source = value.node
    store = ("quantized", *source.attrs["store"][1:])
    return node(source.op, *source.inputs, name=source.name, **{**source.attrs, "store": store})[0]


@rule("attention")
def read_stored_bytes(attention: Node, uses: Uses) -> Value | None:
    """Let the projections store bytes, and attention read them."""
    operands = attention.inputs[:3]
    probability = attention.attrs["probability"]
    if probability is None or probability[1] != 0 or not all(_is_centred(value, uses) for value in operands):
        return None
    if attention.attrs.get("key_heads", attention.attrs["heads"]) != attention.attrs["heads"]:
        return None
    widths = {value.shape[2] for value in operands if value is not None}
    if len(widths) != 1 or widths.pop() % (4 * attention.attrs["heads"]):
        return None
    zeros = {
        name: value.node.attrs["store"][2] for name, value in zip(_ZEROS, operands, strict=True) if value
    }
    stored = [_quantized(value) for value in operands if value is not None]
    return node(
        "quantized_attention",
        *stored,
        *attention.inputs[3:],
        name=attention.name,
        **{**attention.attrs, **zeros},
    )[0]


RULES = (read_stored_bytes,)
