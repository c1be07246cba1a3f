"""Arithmetic that changes nothing is dropped.

x ── Mul(1) ── y    x ── Div(1) ── y    =>    x ── y
"""

from __future__ import annotations

from engine.graph import Node, Uses, Value, rule
from engine.graph.pattern import is_scalar, operands, with_scalar


@rule("Mul")
def drop_factor_one(mul: Node, _uses: Uses) -> Value | None:
    """Read what a product by one reads."""
    found = with_scalar(mul)
    return found[0] if found is not None and found[1] == 1 else None


@rule("Div")
def drop_divisor_one(div: Node, _uses: Uses) -> Value | None:
    """Read what a quotient by one reads."""
    x, divisor = operands(div)
    return x if is_scalar(divisor, 1) and x.type == div.types[0] else None


RULES = (drop_factor_one, drop_divisor_one)
