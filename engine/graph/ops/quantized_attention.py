"""Attention on 8-bit queries, keys and values: the same as `attention` on them less their zero points."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import UINT8, Attrs, Inputs, Op, Shape, given, need
from engine.graph.ops.attention import ATTENTION, attend
from engine.graph.ops.fused import stored_dtype

ZEROS = ("q_zero", "k_zero", "v_zero")


def _evaluate(attrs: Attrs, q: Array, k: Array, v: Array, mask: Array | None = None) -> tuple[Array, ...]:
    queries, keys, values = (
        array.astype(np.float32) - np.float32(attrs[zero])
        for array, zero in zip((q, k, v), ZEROS, strict=True)
    )
    return attend(attrs, queries, keys, values, mask)


def _shapes(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    q, k, v = (given(inputs, i) for i in range(3))
    need(
        all(len(x.shape) == 3 and x.dtype == UINT8 for x in (q, k, v)), "q, k, v must be uint8 [b, s, width]"
    )
    need(q.shape[2] == k.shape[2] == v.shape[2] and k.shape[:2] == v.shape[:2], "q, k, v do not fit")
    need(q.shape[0] == k.shape[0] and q.shape[2] % (4 * attrs["heads"]) == 0, "heads are no whole quads")
    need(attrs["probability"] is not None and attrs["probability"][1] == 0, "probabilities must begin at 0")
    return (q.shape,)


ROWS = (
    Op(
        "quantized_attention",
        _evaluate,
        stored_dtype,
        _shapes,
        (3, 4),
        attributes=ATTENTION | frozenset(ZEROS),
    ),
)
