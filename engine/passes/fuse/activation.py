"""The activation of a product's results happens in the product's own step.

    linear ── Relu | gelu | Tanh | Sigmoid | HardSwish | LeakyRelu | HardSigmoid ── y    =>    linear(activation) ── y
    linear ── Max(low) ── Min(high) ── y    =>    linear(activation = ("clip", low, high)) ── y
    linear ─┬──────────── Mul ── y
            └─ Sigmoid ───┘                 =>    linear(activation = "silu") ── y

Not when another node reads the product: it would be computed twice.
"""

from __future__ import annotations

import math

import numpy as np

from engine.graph import Node, Uses, Value, rule
from engine.graph.pattern import either_way, first_input, is_op, scalar
from engine.passes.fuse.epilogue import BIAS, exchanged, is_open

_NAMES = {
    "Relu": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "HardSwish": "hard_swish",
    "LeakyRelu": "leaky_relu",
    "HardSigmoid": "hard_sigmoid",
    "gelu": "gelu",
}
# Attributes that are numbers of the activation, in its order.
_NUMBERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta")}


@rule(*_NAMES)
def apply_activation(step: Node, uses: Uses) -> Value | None:
    """An activation that a product knows."""
    product = first_input(step[0])
    if not is_open(product, uses):
        return None
    name = _NAMES[step.op]
    if name == "gelu" and step.attrs["approximate"] == "tanh":
        name = "gelu_tanh"
    numbers = tuple(np.float32(step.attrs[number]) for number in _NUMBERS.get(step.op, ()))
    return exchanged(product.node, product.node.name, {}, activation=(name, *numbers) if numbers else name)


def _bounds(product: Value, uses: Uses) -> tuple[np.float32, np.float32] | None:
    """Bounds that a product keeps to already; infinities where it has none, None where it does something else."""
    if is_open(product, uses):
        return np.float32(-math.inf), np.float32(math.inf)
    if not is_op(product, *BIAS) or uses[product] != 1 or product.node.attrs["store"] is not None:
        return None
    activation = product.node.attrs["activation"]
    if activation == "relu":
        return np.float32(0), np.float32(math.inf)
    return activation[1:] if activation[0] == "clip" else None


@rule("Max", "Min")
def apply_bound(step: Node, uses: Uses) -> Value | None:
    """A bound that is one number; the lower one comes first, as in Clip."""
    if len(step.inputs) != 2:
        return None
    for bound, product in either_way(step):
        number = scalar(bound)
        if number is None or product.type != step.types[0] or product.dtype != np.float32:
            continue
        found = _bounds(product, uses)
        if found is None or (step.op == "Max" and found[1] != math.inf) or math.isnan(number):
            continue
        low, high = found
        if step.op == "Max":
            low = max(low, np.float32(number))
        else:
            high = min(high, np.float32(number))
        return exchanged(product.node, product.node.name, {}, activation=("clip", low, high))
    return None


@rule("Mul")
def apply_silu(step: Node, uses: Uses) -> Value | None:
    """A product by its own sigmoid."""
    for product, gate in either_way(step):
        if (
            not is_op(gate, "Sigmoid")
            or first_input(gate) != product
            or uses[gate] != 1
            or uses[product] != 2
        ):
            continue
        if is_open(product, {**uses, product: 1}):
            return exchanged(product.node, product.node.name, {}, activation="silu")
    return None


RULES = (apply_activation, apply_bound, apply_silu)
