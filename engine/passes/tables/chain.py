"""Whatever is computed element by element between two roundings is a function of one byte.

    x u8 ── DequantizeLinear ── Div ── Erf ── Add ── Mul ── Mul ── quantize ── y u8    =>    x ── byte_table ── y
                    └───────────────────────────────┘

The constants between must be single numbers. The table is made by running the chain on all 256 bytes, so it gives
what the graph says, roundings inside the chain included. Static quantisers write activations in this way.
"""

from __future__ import annotations

import numpy as np

from engine.graph import OPS, Array, Node, Uses, Value, evaluate_node, node, rule
from engine.graph.pattern import first_input, is_op, scalar
from engine.passes.quantisation import dequantised

# How many nodes lie between a byte and what is computed from it, at most.
DEPTH = 24


@rule("quantize")
def look_up_chain(step: Node, _uses: Uses) -> Value | None:
    """One table in place of everything between the first rounding and the last."""
    sources = _sources(first_input(step[0]), {}, DEPTH)
    if sources is None or len(sources) != 1:
        return None
    (source,) = sources
    if source.type != step.types[0]:
        return None
    table = _entries(step[0], {source: np.arange(256, dtype=np.uint8)})
    return node("byte_table", source, name=step.name, table=table)[0]


Found = frozenset[Value] | None


def _sources(value: Value, known: dict[Value, Found], depth: int) -> Found:
    """The bytes that `value` is computed from element by element, as early ones as there are; None if it is not."""
    if value not in known:
        known[value] = _followed(value, known, depth) if depth else None
    return known[value]


def _followed(value: Value, known: dict[Value, Found], depth: int) -> Found:
    if value.array is not None:
        return None if scalar(value) is None else frozenset()
    read = dequantised(value)
    if read is not None:
        source = read.source
        earlier = _sources(first_input(source), known, depth - 1) if is_op(source, "quantize") else None
        return earlier if earlier is not None and len(earlier) == 1 else frozenset([source])
    row = OPS.get(value.node.op)
    if row is None or not row.elementwise:
        return None
    parts = [_sources(operand, known, depth - 1) for operand in value.node.inputs if operand is not None]
    return None if None in parts else frozenset().union(*(part for part in parts if part is not None))


def _entries(value: Value, known: dict[Value, Array]) -> Array:
    """What the graph computes for every byte."""
    if value not in known:
        operands = [None if operand is None else _entries(operand, known) for operand in value.node.inputs]
        array = value.array
        known[value] = evaluate_node(value.node, operands)[0] if array is None else array.reshape(())
    return known[value]


RULES = (look_up_chain,)
