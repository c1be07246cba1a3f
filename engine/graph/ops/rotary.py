"""Rotary position embeddings (Su et al. 2021), of halves.

rotary(x[b, s, h*d], cos[b, s, d], sin[b, s, d])
    for each head u | v of d features, halves u and v:  (u | v) * cos + (-v | u) * sin.    attrs: heads
"""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import FLOAT32, Attrs, Inputs, Op, Shape, fixed_dtype, given, need


def _rotary(attrs: Attrs, x: Array, cos: Array, sin: Array) -> tuple[Array, ...]:
    batch, length, width = x.shape
    heads = x.reshape(batch, length, attrs["heads"], -1)
    u, v = np.split(heads, 2, axis=-1)
    turned = np.concatenate([-v, u], axis=-1)
    return ((heads * cos[:, :, None] + turned * sin[:, :, None]).reshape(batch, length, width),)


def _shapes(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    x, cos, sin = (given(inputs, place) for place in range(3))
    need(all(value.dtype == FLOAT32 for value in (x, cos, sin)), "x, cos and sin must be float32")
    need(len(x.shape) == 3 and x.shape[2] % (2 * attrs["heads"]) == 0, "x must be [b, s, h*d], d even")
    need(cos.shape == sin.shape == (*x.shape[:2], x.shape[2] // attrs["heads"]), "cos and sin: [b, s, d]")
    return (x.shape,)


ROWS = (Op("rotary", _rotary, fixed_dtype(FLOAT32), _shapes, (3, 3), attributes=frozenset({"heads"})),)
