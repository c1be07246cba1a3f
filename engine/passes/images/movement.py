"""Images stay pixels from one convolution to the next: what is computed number by number does not mind the order.

y ── image ── Relu ── z                     =>    y ── Relu ── image ── z
y ── image ── Add(b[1, c, 1, 1]) ── z       =>    y ── Add(b[c]) ── image ── z
y ── image ── Add(x) ── z                   =>    y ── Add(x ── pixels) ── image ── z
y ── image ── Mul(g[b, c, 1, 1]) ── z       =>    y ── Mul(g ── pixels) ── image ── z
y ── image ── ReduceMean(pixels) ── z       =>    y ── ReduceMean(1) ── image ── z
y ── image ── pixels ── z                   =>    y ── z
x ── QuantizeLinear(s, z) ── pixels ── y    =>    x ── pixels ── QuantizeLinear(s, z) ── y
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.graph import OPS, Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op
from engine.passes.images._weights import made_once
from engine.passes.images._window import image, pixels
from engine.passes.quantisation import per_tensor

_ROUNDING = ("QuantizeLinear", "DequantizeLinear", "quantize")


@rule("pixels")
def drop_way_back(step: Node, _uses: Uses) -> Value | None:
    """Read the pixels that an image was made of."""
    x = first_input(step[0])
    return first_input(x) if is_op(x, "image") else None


@rule("pixels")
def round_pixels(step: Node, _uses: Uses) -> Value | None:
    """Round behind the move, so that it stands beside who computes or who reads."""
    x = first_input(step[0])
    if not is_op(x, *_ROUNDING) or per_tensor(x.node) is None or first_input(x).array is not None:
        return None
    moved = pixels(first_input(x), step.name)
    return node(x.op, moved, *x.node.inputs[1:], name=x.node.name, **_without_axis(x.node))[0]


def _without_axis(step: Node) -> dict[str, object]:
    """Attributes of a rounding with one scale for all: the axis says nothing; 0 is there whatever the rank."""
    return {**step.attrs, "axis": 0} if "axis" in step.attrs else dict(step.attrs)


@rule("DynamicQuantizeLinear")
def dynamic_pixels(step: Node, _uses: Uses) -> Mapping[Value, Value] | None:
    """The range of all numbers does not depend on their order."""
    x = first_input(step[0])
    if x.type.shape is None or len(x.shape) != 4:
        return None
    moved = node("DynamicQuantizeLinear", pixels(x, step.name), name=step.name)
    return {step[0]: image(moved[0], x.shape[2:], step.name), step[1]: moved[1], step[2]: moved[2]}


def _operand(value: Value | None, shape: tuple[int, ...]) -> Value | None:
    """An operand of an elementwise node, as it stands beside pixels; None where it cannot."""
    if value is None or value.type.shape is None:
        return None
    if value.array is None:
        # Of an image's own size, or a gate for each of its channels: an image of one pixel.
        if value.shape in (shape, (*shape[:2], *(1,) * (len(shape) - 2))):
            return first_input(value) if is_op(value, "image") else pixels(value, value.node.name)
        return value if value.shape in ((), (1,)) else None
    if value.array.size == 1:
        return value if value.shape in ((), (1,)) else made_once(value, "scalar", lambda a: a.reshape(()))
    per_channel = (1,) * (len(shape) - len(value.shape)) + value.shape
    if per_channel != (1, shape[1], *(1,) * (len(shape) - 2)):
        return None
    return made_once(value, "row", lambda a: a.reshape(-1))


@rule(*sorted(op for op, row in OPS.items() if row.elementwise))
def compute_on_pixels(step: Node, _uses: Uses) -> Value | None:
    """Elementwise nodes that read an image of their own size."""
    images = [value for value in step.inputs if is_op(value, "image") and value is not None]
    shape = step.types[0].shape
    if shape is None or len(step.types) != 1 or not any(value.shape == shape for value in images):
        return None
    found = [(value, None if value is None else _operand(value, shape)) for value in step.inputs]
    if any(value is not None and moved is None for value, moved in found):
        return None
    y = node(step.op, *(moved for _, moved in found), name=step.name, **step.attrs)[0]
    return image(y, shape[2:], step.name)


@rule("ReduceMean", "ReduceSum")
def reduce_pixels(step: Node, _uses: Uses) -> Value | None:
    """Add up whole images where their pixels are."""
    x = first_input(step[0])
    if not is_op(x, "image") or x.dtype != np.float32:
        return None
    if tuple(sorted(step.attrs["axes"])) != tuple(range(2, len(x.shape))):
        return None
    y = node(step.op, first_input(x), name=step.name, **{**step.attrs, "axes": (1,), "keepdims": 1})[0]
    whole = image(y, (1,) * (len(x.shape) - 2), step.name)
    return whole if step.attrs["keepdims"] else node("Reshape", y, name=step.name, shape=step[0].shape)[0]


@rule(*_ROUNDING)
def round_image(step: Node, _uses: Uses) -> Value | None:
    """Rounding and dequantising with one scale for all."""
    x = first_input(step[0])
    if not is_op(x, "image") or per_tensor(step) is None:
        return None
    y = node(step.op, first_input(x), *step.inputs[1:], name=step.name, **_without_axis(step))[0]
    return image(y, x.node.attrs["size"], step.name)


RULES = (drop_way_back, round_pixels, dynamic_pixels, compute_on_pixels, reduce_pixels, round_image)
