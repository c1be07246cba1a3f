"""GroupNormalization of opset 21 as PyTorch's exporter writes it below that: groups are the channels of another image.

x ── GroupNormalization(g, b) ── y
    =>    x ── Reshape[n, groups, -1] ── InstanceNormalization ── Reshape[as x] ── Mul(g) ── Add(b) ── y
"""

from __future__ import annotations

import math

import numpy as np

from engine.frontend.form import Call, Form, Values, static
from engine.graph import Value


def _per_channel(call: Call, value: Value, rank: int) -> Value:
    return call.constant(static(value).reshape(-1, *(1,) * (rank - 2)))


def _group_normalization(call: Call) -> Values | None:
    x, groups = call.input(0), int(call.attrs["num_groups"])
    gain, bias = (_per_channel(call, call.input(place), len(x.shape)) for place in (1, 2))
    ones, zeros = (call.constant(np.full(groups, number, x.dtype)) for number in (1, 0))
    shape = (x.shape[0], groups, math.prod(x.shape[1:]) // groups)
    grouped = call.emit("Reshape", x, shape=shape)
    epsilon = float(call.attrs.get("epsilon", 1e-5))
    rows = call.emit("InstanceNormalization", grouped, ones, zeros, epsilon=epsilon)
    back = call.emit("Reshape", rows, shape=x.shape)
    return (call.emit("Add", call.emit("Mul", back, gain), bias),)


FORMS = (Form(("GroupNormalization",), _group_normalization),)
