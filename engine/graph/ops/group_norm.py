"""Normalisation of groups of neighbouring channels over all pixels of an image (Wu and He 2018).

group_norm(x[b, p, c], gain[c], bias[c])
    activation((x - mean) / sqrt(variance + epsilon) * gain + bias), mean and variance over p and the channels of a group.
    One channel a group: instance normalisation (Ulyanov et al. 2016).    attrs: groups, epsilon, activation
"""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import FLOAT32, Attrs, Inputs, Op, Shape, fixed_dtype, given, need
from engine.graph.ops.fused import ACTIVATIONS, activated, activation_name, is_vector


def _group_norm(attrs: Attrs, x: Array, gain: Array, bias: Array) -> tuple[Array, ...]:
    batch, pixels, channels = x.shape
    grouped = x.astype(np.float64).reshape(batch, pixels, attrs["groups"], -1)
    centred = grouped - grouped.mean(axis=(1, 3), keepdims=True)
    variance = np.mean(centred * centred, axis=(1, 3), keepdims=True)
    rows = (centred / np.sqrt(variance + attrs["epsilon"])).reshape(batch, pixels, channels)
    return (activated(attrs["activation"], (rows * gain + bias).astype(np.float32)),)


def _shapes(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    x = given(inputs, 0)
    need(x.dtype == FLOAT32 and len(x.shape) == 3, "x must be float32 [b, p, c]")
    need(attrs["groups"] > 0 and x.shape[2] % attrs["groups"] == 0, "the groups do not divide the channels")
    need(activation_name(attrs["activation"]) in ACTIVATIONS, f"no activation {attrs['activation']!r}")
    for place in (1, 2):
        need(is_vector(given(inputs, place), FLOAT32, x.shape[2]), "gain and bias: constant float32[c]")
    return (x.shape,)


ROWS = (
    Op(
        "group_norm",
        _group_norm,
        fixed_dtype(FLOAT32),
        _shapes,
        (3, 3),
        attributes=frozenset({"groups", "epsilon", "activation"}),
    ),
)
