"""Root mean square normalisation over the last axis (T5, LLaMA): a layer norm that takes no mean away.

    x ─┬─ Pow(2) ── ReduceMean ── Add(eps) ── Sqrt ─┐
       └────────────────────────────────────────── Div ── Mul(g) ── y

    =>   x ── layer_norm(g, eps, keeps_mean) ── y

The gain joins the normalised rows by the rule that layer norms have.
"""

from __future__ import annotations

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import either_way, operands
from engine.passes.fuse._spread import inverse_spread, is_whole, ones, spread


@rule("Div")
def root_mean_square_quotient(div: Node, uses: Uses) -> Value | None:
    """Rows over their root mean square."""
    x, divisor = operands(div)
    return _normalised(div, x, spread(divisor), uses)


@rule("Mul")
def root_mean_square_product(mul: Node, uses: Uses) -> Value | None:
    """Rows times one over their root mean square."""
    for x, factor in either_way(mul):
        found = _normalised(mul, x, inverse_spread(factor), uses)
        if found is not None:
            return found
    return None


def _normalised(root: Node, x: Value, found: tuple[Value, float] | None, uses: Uses) -> Value | None:
    if found is None or found[0] != x or not is_whole(root, x, uses):
        return None
    attrs = {"epsilon": found[1], "quantize": None, "rounded": False, "keeps_mean": True}
    return node("layer_norm", x, ones(x.shape[-1], root.name), name=root.name, **attrs)[0]


RULES = (root_mean_square_quotient, root_mean_square_product)
