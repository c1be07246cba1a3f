"""The largest number of a window is found after rounding as well as before, and of pixels as well as of images.

x ── MaxPool ── QuantizeLinear(s, z) ── y      =>    x ── QuantizeLinear(s, z) ── MaxPool ── y
xq ── DequantizeLinear(s, z) ── MaxPool ── y   =>    xq ── MaxPool ── DequantizeLinear(s, z) ── y
xq ── image ── MaxPool ── y                    =>    xq ── largest_pixels ── image ── y

Exact: rounding keeps the order of numbers. The first not when another node reads the unrounded results.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op
from engine.passes.images._window import image, window_of
from engine.passes.quantisation import per_tensor

_ROUNDING = ("QuantizeLinear", "quantize")


def _pooled(pool: Node, x: Value) -> Value:
    return node("MaxPool", x, name=pool.name, **pool.attrs)[0]


def _rises(step: Node) -> bool:
    """Whether a rounding has one scale for all, and a larger number never gives a smaller one."""
    found = per_tensor(step)
    return found is not None and bool(found.scale > 0)


@rule(*_ROUNDING)
def round_before_pooling(step: Node, uses: Uses) -> Value | None:
    """Find the largest of bytes."""
    pooled = first_input(step[0])
    if not is_op(pooled, "MaxPool") or uses[pooled] != 1 or not _rises(step):
        return None
    x = first_input(pooled)
    if x.dtype != np.float32 or step.types[0].dtype != np.uint8:
        return None
    rounded = node(step.op, x, *step.inputs[1:], name=step.name, **step.attrs)[0]
    return _pooled(pooled.node, rounded)


@rule("MaxPool")
def pool_before_dequantising(pool: Node, _uses: Uses) -> Value | None:
    """Dequantise fewer numbers, and pool bytes."""
    real = first_input(pool[0])
    if not is_op(real, "DequantizeLinear") or not _rises(real.node) or len(pool.types) != 1:
        return None
    xq = first_input(real)
    if xq.dtype != np.uint8 or xq.array is not None:
        return None
    return node(real.op, _pooled(pool, xq), *real.node.inputs[1:], name=real.node.name, **real.node.attrs)[0]


@rule("MaxPool")
def pool_pixels(pool: Node, _uses: Uses) -> Value | None:
    """Leave bytes where convolutions have them."""
    x = first_input(pool[0])
    if not is_op(x, "image") or x.dtype != np.uint8 or len(pool.types) != 1 or len(x.shape) not in (3, 4):
        return None
    window = window_of(pool, x, pool.attrs["kernel_shape"])
    y = node("largest_pixels", first_input(x), name=pool.name, window=window)[0]
    return image(y, pool[0].shape[2:], pool.name)


RULES = (round_before_pooling, pool_before_dequantising, pool_pixels)
