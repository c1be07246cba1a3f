"""Normalisation over the pixels of an image, by channel or by groups of channels, on pixels.

    x ── InstanceNormalization(g, b) ── y    =>    x ── pixels ── group_norm(g, b, groups = c) ── image ── y
    x ── Reshape[n, groups, -1] ── InstanceNormalization(g, b) ── Reshape[as x] ── y
                                             =>    x ── pixels ── group_norm(g, b by channel) ── image ── y
    x ── group_norm(g, b) ── Mul(f[c]) ── Add(d[c]) ── y    =>    x ── group_norm(g * f, b * f + d) ── y

The second is how PyTorch's GroupNorm is exported, its factor and number of each channel behind it.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Array, Node, Uses, Value, constant, node, rule
from engine.graph.pattern import either_way, first_input, is_op, row_constant
from engine.passes.images._window import image, pixels


def _constants(step: Node) -> tuple[Array, Array] | None:
    """Gain and bias, where both are constant."""
    gain, bias = (None if value is None else value.array for value in step.inputs[1:3])
    return None if gain is None or bias is None else (gain, bias)


def _normalised(x: Value, step: Node, groups: int) -> Value | None:
    found = _constants(step)
    if found is None or x.dtype != np.float32 or len(x.shape) < 3 or 0 in x.shape:
        return None
    own, name = x.shape[1] // groups, step.name
    gain, bias = (constant(np.repeat(array.reshape(-1), own), name) for array in found)
    attrs = {"groups": groups, "epsilon": step.attrs["epsilon"], "activation": "none"}
    y = node("group_norm", pixels(x, name), gain, bias, name=name, **attrs)[0]
    return image(y, x.shape[2:], name)


@rule("Reshape")
def normalised_groups(back: Node, uses: Uses) -> Value | None:
    """Groups of neighbouring channels as channels of another image."""
    normal = first_input(back[0])
    if not is_op(normal, "InstanceNormalization") or uses[normal] != 1:
        return None
    grouped = first_input(normal)
    if not is_op(grouped, "Reshape") or grouped.type.shape is None:
        return None
    x, groups = first_input(grouped), grouped.shape[1]
    if x.type != back.types[0] or x.shape[0] != grouped.shape[0] or len(x.shape) < 3 or not groups:
        return None
    return _normalised(x, normal.node, groups) if x.shape[1] % groups == 0 else None


@rule("InstanceNormalization")
def normalised_image(step: Node, _uses: Uses) -> Value | None:
    """Each channel by itself. Where it is a group, the rule above has its way: what this one makes is then not read."""
    x = first_input(step[0])
    return None if x.type.shape is None else _normalised(x, step, x.shape[1])


def _open_norm(value: Value, uses: Uses) -> bool:
    return is_op(value, "group_norm") and uses[value] == 1 and value.node.attrs["activation"] == "none"


def _changed(norm: Node, factor: Array | float, number: Array | float, name: str) -> Value | None:
    found = _constants(norm)
    if found is None:
        return None
    rows = (found[0] * factor, found[1] * factor + number)
    gain, bias = (constant(np.asarray(row, np.float32), name) for row in rows)
    return node("group_norm", norm.inputs[0], gain, bias, name=norm.name, **norm.attrs)[0]


@rule("Mul")
def take_factor(mul: Node, uses: Uses) -> Value | None:
    """A factor of each channel is the gain's."""
    for norm, other in either_way(mul):
        row = row_constant(other, norm.shape[-1]) if _open_norm(norm, uses) else None
        if row is not None and norm.type == mul.types[0]:
            return _changed(norm.node, row, 0.0, mul.name)
    return None


@rule("Add")
def take_number(add: Node, uses: Uses) -> Value | None:
    """What is added to each channel is the bias's."""
    for norm, other in either_way(add):
        row = row_constant(other, norm.shape[-1]) if _open_norm(norm, uses) else None
        if row is not None and norm.type == add.types[0]:
            return _changed(norm.node, 1.0, row, add.name)
    return None


RULES = (normalised_groups, normalised_image, take_factor, take_number)
