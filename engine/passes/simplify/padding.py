"""Padding before a convolution or a pooling is the window's own.

    x ── Pad(q, 0) ── Conv(pads = p) ── y                     =>    x ── Conv(pads = p + q) ── y
    x ── Pad(q, 0) ── QuantizeLinear ── DequantizeLinear ── Conv ── y    =>    the same behind both, and in any order
    xq ── Pad(q, z) ── QLinearConv(z) ── y                    =>    xq ── QLinearConv(z, pads = p + q) ── y
    x ── Pad(q, 0) ── AveragePool ── y                        =>    x ── AveragePool(pads = q, counted) ── y
    x ── Pad(q, lowest) ── MaxPool(pads = p) ── y             =>    x ── MaxPool(pads = p + q) ── y

The largest of a window minds no zeros either where no number is below them and each window sees a number.
Exact: what a rounding or its inverse makes of zero is zero. Negative pads cut, and stay.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op, scalar
from engine.passes.quantisation import per_tensor

Pads = tuple[int, ...]
# Zero: a number, or the zero point that is only known at run time.
Zero = float | Value


def _spatial_pads(pad: Node) -> Pads | None:
    """Begins, then ends, of the axes of the image; None where the node does anything else."""
    pads, rank = tuple(pad.attrs["pads"]), len(pad.types[0].shape or ())
    begins, ends = pads[:rank], pads[rank:]
    if pad.attrs["mode"] != "constant" or min(pads) < 0 or any(begins[:2] + ends[:2]):
        return None
    return begins[2:] + ends[2:]


def _is_filled(pad: Node, zero: Zero) -> bool:
    fill = pad.inputs[1] if len(pad.inputs) > 1 else None
    if isinstance(zero, Value):
        return fill == zero
    return (0.0 if fill is None else scalar(fill)) == zero


def _zero_of(conv: Node) -> Zero:
    """What the padding of a convolution stands for, in numbers of its image."""
    point = conv.inputs[2] if conv.op != "Conv" and len(conv.inputs) > 2 else None
    number = 0.0 if point is None else scalar(point)
    return point if number is None and point is not None else number or 0.0


def _unpadded(x: Value, zero: Zero) -> tuple[Value, Pads] | None:
    """x without the padding by `zero` that was put around it before roundings, and that padding."""
    if x.type.shape is None or x.array is not None:
        return None
    if is_op(x, "Pad"):
        pads = _spatial_pads(x.node) if _is_filled(x.node, zero) else None
        return None if pads is None else (first_input(x), pads)
    if not is_op(x, "QuantizeLinear", "DequantizeLinear"):
        return None
    found = per_tensor(x.node)
    if found is None:
        return None
    outside, inside = float(found.zero_point), 0.0
    if x.op == "DequantizeLinear":
        outside, inside = inside, outside
    below = _unpadded(first_input(x), inside) if zero == outside else None
    if below is None:
        return None
    return node(x.op, below[0], *x.node.inputs[1:], name=x.node.name, **x.node.attrs)[0], below[1]


def _sum(one: Any, other: Pads) -> Pads:
    return tuple(int(a) + b for a, b in zip(one, other, strict=True))


def _widened(step: Node, x: Value, pads: Pads, **attrs: Any) -> Value:
    whole = {**step.attrs, "pads": _sum(step.attrs["pads"], pads), **attrs}
    return node(step.op, x, *step.inputs[1:], name=step.name, **whole)[0]


@rule("Conv", "ConvInteger", "QLinearConv")
def pad_in_convolution(conv: Node, _uses: Uses) -> Value | None:
    """Padding by what counts as zero."""
    found = _unpadded(first_input(conv[0]), _zero_of(conv))
    return None if found is None else _widened(conv, *found)


def _is_counted(pool: Node) -> bool:
    """Whether padding of the pooling's own counts in its means, or there is none."""
    return bool(pool.attrs.get("count_include_pad")) or not any(pool.attrs["pads"])


@rule("AveragePool")
def pad_in_means(pool: Node, _uses: Uses) -> Value | None:
    """Zeros that count."""
    if pool.attrs.get("ceil_mode") or not _is_counted(pool):
        return None
    found = _unpadded(first_input(pool[0]), 0.0)
    return None if found is None else _widened(pool, *found, count_include_pad=1)


def _is_positive(x: Value | None) -> bool:
    """Whether no number of x is below 0, by the operators that compute it."""
    number = scalar(x)
    if number is not None:
        return number >= 0
    if x is None or not is_op(x, "Max", "Min"):
        return is_op(x, "Relu", "Sigmoid", "HardSigmoid")
    among = any if x.op == "Max" else all
    return among(_is_positive(value) for value in x.node.inputs)


def _sees_numbers(pool: Node, pads: Pads) -> bool:
    """Whether each window lies on the image somewhere, with `pads` in all."""
    kernel = tuple(pool.attrs["kernel_shape"])
    return set(pool.attrs["dilations"]) == {1} and all(
        pad < size for pad, size in zip(pads, 2 * kernel, strict=True)
    )


@rule("MaxPool")
def pad_in_largest(pool: Node, _uses: Uses) -> Value | None:
    """Numbers that are never the largest, or no larger than what else there is."""
    x = first_input(pool[0])
    if pool.attrs.get("ceil_mode") or len(pool.types) != 1 or x.type.shape is None:
        return None
    lowest = -np.inf if x.dtype.kind == "f" else float(np.iinfo(x.dtype).min)
    found = _unpadded(x, lowest)
    if found is None and x.dtype.kind == "f":
        found = _unpadded(x, 0.0)
        positive = found is not None and is_op(x, "Pad") and _is_positive(found[0])
        if found is None or not positive or not _sees_numbers(pool, _sum(pool.attrs["pads"], found[1])):
            return None
    return None if found is None else _widened(pool, *found)


RULES = (pad_in_convolution, pad_in_means, pad_in_largest)
