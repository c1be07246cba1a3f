"""The activation of a product's results happens in the product's own step.

    linear ── Relu | gelu | Tanh | Sigmoid | HardSwish | LeakyRelu | HardSigmoid ── y    =>    linear(activation) ── y
    linear ── Max(low) ── Min(high) ── y    =>    linear(activation = ("clip", low, high)) ── y
    linear ─┬──────────── Mul ── y
            └─ Sigmoid ───┘                 =>    linear(activation = "silu") ── y
    linear ─┬───────────────────── Mul ── y
            └─ Mul(a) ── Sigmoid ──┘        =>    linear(activation = ("swish", a)) ── y

Normalisations of images (group_norm) take them too. Not when another node reads the product: it would be computed twice.
"""

from __future__ import annotations

import math

import numpy as np

from engine.graph import Node, Uses, Value, rule
from engine.graph.pattern import either_way, first_input, is_op, scalar, with_scalar
from engine.passes.fuse.epilogue import BIAS, exchanged, is_open

_NAMES = {
    "Relu": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "HardSwish": "hard_swish",
    "LeakyRelu": "leaky_relu",
    "HardSigmoid": "hard_sigmoid",
    "gelu": "gelu",
    "Swish": "swish",
}
# Attributes that are numbers of the activation, in its order.
_NUMBERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Swish": ("alpha",)}


def _is_open(value: Value, uses: Uses) -> bool:
    """Whether the step that computes the value can apply an activation to it."""
    if is_op(value, "group_norm"):
        return uses[value] == 1 and value.node.attrs["activation"] == "none"
    return is_open(value, uses)


@rule(*_NAMES)
def apply_activation(step: Node, uses: Uses) -> Value | None:
    """An activation that a product knows."""
    product = first_input(step[0])
    if not _is_open(product, uses):
        return None
    name = _NAMES[step.op]
    if name == "gelu" and step.attrs["approximate"] == "tanh":
        name = "gelu_tanh"
    numbers = tuple(np.float32(step.attrs[number]) for number in _NUMBERS.get(step.op, ()))
    if name == "swish" and numbers[0] == 1:
        name, numbers = "silu", ()
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


def _slope(gate: Value, product: Value, uses: Uses) -> float | None:
    """a, if `gate` is the sigmoid of a times the product, and nobody else reads what lies between."""
    if not is_op(gate, "Sigmoid") or uses[gate] != 1:
        return None
    inner = first_input(gate)
    if inner == product:
        return 1.0
    scaled = with_scalar(inner.node) if is_op(inner, "Mul") and uses[inner] == 1 else None
    return scaled[1] if scaled is not None and scaled[0] == product else None


@rule("Mul")
def apply_swish(step: Node, uses: Uses) -> Value | None:
    """A product by the sigmoid of itself, or of itself times a number (GELU as CLIP has it: 1.702)."""
    for product, gate in either_way(step):
        slope = _slope(gate, product, uses) if uses[product] == 2 else None
        if slope is None or not _is_open(product, {**uses, product: 1}):
            continue
        activation = "silu" if slope == 1 else ("swish", np.float32(slope))
        return exchanged(product.node, product.node.name, {}, activation=activation)
    return None


RULES = (apply_activation, apply_bound, apply_swish)
