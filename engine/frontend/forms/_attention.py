"""Attention operators of several domains: operands as [batch, length, features], masks as what is added."""

from __future__ import annotations

import numpy as np

from engine.frontend.form import Call
from engine.graph import Value


def rows_of_heads(call: Call, x: Value) -> Value:
    """[b, heads, s, d] as [b, s, heads * d]."""
    batch, heads, length, depth = x.shape
    return call.emit(
        "Reshape", call.emit("Transpose", x, perm=(0, 2, 1, 3)), shape=(batch, length, heads * depth)
    )


def heads_of_rows(call: Call, x: Value, heads: int) -> Value:
    """[b, s, heads * d] as [b, heads, s, d]."""
    batch, length, width = x.shape
    split = call.emit("Reshape", x, shape=(batch, length, heads, width // heads))
    return call.emit("Transpose", split, perm=(0, 2, 1, 3))


def attended(
    call: Call,
    operands: tuple[Value, Value, Value],
    heads: int,
    multiplier: float,
    mask: Value | None,
    *,
    zero_masked_rows: bool = False,
) -> Value:
    """softmax(q kT * multiplier + mask) v by head, [b, s, heads * d]; rows that give NaN are zero where asked."""
    attrs = {
        "heads": heads,
        "scores": None,
        "score_multiplier": np.float32(1),
        "multiplier": np.float32(multiplier),
        "probability": None,
        "context_multiplier": np.float32(1),
        "zero_masked_rows": zero_masked_rows,
        "store": None,
    }
    return call.emit("attention", *operands, mask, **attrs)


def added_where(call: Call, kept: Value, low: float) -> Value:
    """0 where the condition holds, else `low`."""
    zero, number = (call.constant(np.asarray(value, np.float32)) for value in (0, low))
    return call.emit("Where", kept, zero, number)


def total(call: Call, first: Value | None, second: Value | None) -> Value | None:
    """The sum of two masks, each of which may be absent."""
    if first is None or second is None:
        return second if first is None else first
    return call.emit("Add", first, second)


def causal(call: Call, queries: int, keys: int, low: float) -> Value:
    """[1, 1, s, t]: `low` where a key comes after the query, the last query seeing all keys."""
    seen = np.arange(keys)[None, :] <= np.arange(queries)[:, None] + (keys - queries)
    return call.constant(np.where(seen, 0, low).astype(np.float32).reshape(1, 1, queries, keys))
