"""What works on the channels of images works on the features of pixels.

y1 ── image ─┐
y2 ── image ─┴ Concat(axis = 1) ── z        =>    y1, y2 ── concat_pixels ── image ── z
y ── image ── Slice(axis 1) ── z            =>    y ── Slice(axis 2) ── image ── z
y ── image ── Reshape[b, *parts, *size] ── Transpose(channels last) ── z
                                            =>    y ── Reshape[b, *size, *parts] ── Transpose ── z
y ── MatMul ── Reshape ── Transpose ── Sigmoid ── z   =>    y ── MatMul ── Sigmoid ── Reshape ── Transpose ── z

The last two are what detection heads do with their results; the last holds for every activation that a product takes.
"""

from __future__ import annotations

import math

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op
from engine.passes.images._window import image, pixels

_AXES = (3, 4)
# Of one operand, and parts of a product that they stand beside.
_ACTIVATIONS = ("HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Swish", "Tanh")


def _is_image(value: Value | None) -> bool:
    return is_op(value, "image") and value is not None and value.dtype == np.float32


@rule("Concat")
def concat_channels(step: Node, _uses: Uses) -> Value | None:
    """Of float32: rows of panels, one behind the other."""
    values = [value for value in step.inputs if value is not None]
    shape = step.types[0].shape
    if shape is None or len(shape) not in _AXES or step.attrs["axis"] != 1 or not any(map(_is_image, values)):
        return None
    if any(value.array is not None for value in values):
        return None
    parts = [first_input(value) if _is_image(value) else pixels(value, step.name) for value in values]
    return image(node("concat_pixels", *parts, name=step.name)[0], shape[2:], step.name)


@rule("Slice")
def slice_channels(step: Node, _uses: Uses) -> Value | None:
    """Some channels, one after another: a view of the panel."""
    x, attrs = first_input(step[0]), step.attrs
    if not _is_image(x) or tuple(attrs["axes"]) != (1,) or tuple(attrs["steps"]) != (1,):
        return None
    y = node("Slice", first_input(x), name=step.name, **{**attrs, "axes": (2,)})[0]
    return image(y, x.node.attrs["size"], step.name)


def _parts(split: tuple[int, ...], x: tuple[int, ...]) -> int | None:
    """Into how many axes a reshape [b, c, *size] -> [b, *parts, *size] splits the channels."""
    count = len(split) - len(x) + 1
    is_split = count > 1 and split[:1] == x[:1] and split[1 + count :] == x[2:]
    return count if is_split and math.prod(split[1 : 1 + count]) == x[1] else None


@rule("Transpose")
def split_channels(transpose: Node, _uses: Uses) -> Value | None:
    """Split features instead of channels, when these are to come last."""
    split = first_input(transpose[0])
    if not is_op(split, "Reshape") or not _is_image(first_input(split)):
        return None
    x, shape, perm = first_input(split), split.shape, tuple(transpose.attrs["perm"])
    count = _parts(shape, x.shape)
    if count is None or perm[-1] != count:
        return None
    # Places of the axes [b, *parts, *size] among [b, *size, *parts].
    sizes = len(shape) - 1 - count
    place = (0, *range(1 + sizes, 1 + sizes + count), *range(1, 1 + sizes))
    last = (shape[0], *shape[1 + count :], *shape[1 : 1 + count])
    y = node("Reshape", first_input(x), name=split.node.name, shape=last)[0]
    return node("Transpose", y, name=transpose.name, perm=tuple(place[axis] for axis in perm))[0]


@rule(*_ACTIVATIONS)
def compute_before_moving(step: Node, uses: Uses) -> Value | None:
    """It stands beside the product that it may become a part of."""
    x = first_input(step[0])
    movements: list[Node] = []
    while is_op(x, "Reshape", "Transpose") and uses[x] == 1:
        movements.append(x.node)
        x = first_input(x)
    if not movements or not is_op(x, "Add", "MatMul") or uses[x] != 1:
        return None
    y = node(step.op, x, name=step.name, **step.attrs)[0]
    for movement in reversed(movements):
        y = node(movement.op, y, name=movement.name, **movement.attrs)[0]
    return y


RULES = (concat_channels, slice_channels, split_channels, compute_before_moving)
