"""A constant behind a dequantisation or a movement is computed.

W i8 ── DequantizeLinear ── w    =>    w f32
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from engine.graph import Node, Uses, Value, constant, evaluate_node, rule

# Graphs bound from one model share constant nodes. So must what is computed from them: packed weights are
# found by the identity of the array.
_computed: WeakKeyDictionary[Node, Value] = WeakKeyDictionary()


@rule("DequantizeLinear", "Reshape", "Transpose", "Cast", "Sub", "Mul")
def fold_constant(node: Node, _uses: Uses) -> Value | None:
    """Compute what depends on constants alone, but for transposed matrices: products read them either way."""
    if any(value is None or value.array is None for value in node.inputs):
        return None
    if node.op == "Transpose" and len(node.attrs["perm"]) == 2:
        return None
    known = _computed.get(node)
    if known is None:
        arrays = [None if value is None else value.array for value in node.inputs]
        found = evaluate_node(node, arrays)[0]
        # ascontiguousarray alone would give a number an axis.
        known = constant(np.ascontiguousarray(found).reshape(found.shape), node.name)
        _computed[node] = known
    return known


RULES = (fold_constant,)
