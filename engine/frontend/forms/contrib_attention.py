"""Attention of ONNX Runtime's own domain, written by its transformer optimiser.

    x ── Attention(Wqkv, bqkv) ── y    =>    x ── MatMul ── Add ── Slice q, k, v ── attention ── y

The mask comes as 0 and 1 for each key, or as lengths of sequences; both become numbers that are added.
"""

from __future__ import annotations

import numpy as np

from engine.frontend.form import Call, Form, Values
from engine.frontend.forms._attention import added_where, attended, causal, rows_of_heads, total
from engine.frontend.forms.contrib_product import scaled_product
from engine.frontend.forms.movement import sliced
from engine.graph import Value

# Added to the score of a masked key, where the file does not say.
FILTER = -10000.0


def _attention(call: Call) -> Values | None:
    x, weights, bias = call.input(0), call.input(1), call.optional(2)
    if call.optional(4) is not None or call.optional(6) is not None or not _is_plain(call, len(x.shape)):
        return None
    projected = call.emit("MatMul", x, weights)
    if bias is not None:
        projected = call.emit("Add", projected, bias)
    return _from_projections(call, projected, (3, 5))


def _quantised_attention(call: Call) -> Values | None:
    x, weights, bias, x_scale, w_scale = (call.input(index) for index in range(5))
    if call.optional(8) is not None or not _is_plain(call, len(x.shape)):
        return None
    operands = ((x, x_scale, call.optional(6)), (weights, w_scale, call.optional(7)))
    return _from_projections(call, scaled_product(call, *operands, bias), (5, None))


def _is_plain(call: Call, rank: int) -> bool:
    """Whether the node asks for nothing but attention of one tensor [b, s, features]."""
    named = [name for name in call.operation.outputs if name]
    return rank == 3 and len(named) == 1 and not call.attrs.get("do_rotary")


def _from_projections(call: Call, projected: Value, places: tuple[int, int | None]) -> Values | None:
    """Attention of q, k and v side by side. places: inputs that are the mask, and what is added beside it."""
    width = projected.shape[2] // 3
    sizes = tuple(call.attrs.get("qkv_hidden_sizes") or (width,) * 3)
    ends = np.cumsum(sizes).tolist()
    parts = [
        sliced(call, projected, (2,), [(end - size, end, 1)]) for size, end in zip(sizes, ends, strict=True)
    ]
    added = None if places[1] is None else call.optional(places[1])
    return _finished(call, (parts[0], parts[1], parts[2]), call.optional(places[0]), added)


def _multi_head(call: Call) -> Values | None:
    query, key, value = call.input(0), call.optional(1), call.optional(2)
    past = any(call.optional(index) is not None for index in range(6, len(call.inputs)))
    if key is None or value is None or past or not _is_plain(call, len(query.shape)):
        return None
    bias = call.optional(3)
    parts = [x if len(x.shape) == 3 else rows_of_heads(call, x) for x in (query, key, value)]
    if bias is not None:
        ends = np.cumsum([x.shape[2] for x in parts]).tolist()
        starts = [end - x.shape[2] for x, end in zip(parts, ends, strict=True)]
        parts = [
            call.emit("Add", x, sliced(call, bias, (0,), [(start, end, 1)]))
            for x, start, end in zip(parts, starts, ends, strict=True)
        ]
    return _finished(call, (parts[0], parts[1], parts[2]), call.optional(4), call.optional(5))


def _finished(
    call: Call, parts: tuple[Value, Value, Value], padding: Value | None, added: Value | None
) -> Values | None:
    heads = int(call.attrs["num_heads"])
    (batch, queries, width), keys = parts[0].shape, parts[1].shape[1]
    low = float(call.attrs.get("mask_filter_value", FILTER))
    mask = None
    if padding is not None:
        mask = _padding(call, padding, (batch, keys), low)
        if mask is None:
            return None
    if call.attrs.get("unidirectional"):
        mask = total(call, mask, causal(call, queries, keys, float(np.finfo(np.float32).min)))
    multiplier = call.attrs.get("scale") or 1.0 / float(np.sqrt(width // heads))
    return (attended(call, parts, heads, multiplier, total(call, mask, added)),)


def _padding(call: Call, padding: Value, sizes: tuple[int, int], low: float) -> Value | None:
    """What is added for padding [b, t], [b, s, t], lengths [b], or ends and then starts [2 b]."""
    batch, keys = sizes
    if len(padding.shape) == 1:
        return _lengths(call, padding, sizes, low)
    shapes = {2: (batch, 1, 1, keys), 3: (batch, 1, *padding.shape[1:])}
    shape = shapes.get(len(padding.shape))
    if shape is None or padding.shape[-1] != keys:
        return None
    kept = call.emit("Greater", padding, call.constant(np.zeros((), padding.dtype)))
    return added_where(call, call.emit("Reshape", kept, shape=shape), low)


def _lengths(call: Call, ends: Value, sizes: tuple[int, int], low: float) -> Value | None:
    batch, keys = sizes
    if ends.shape[0] not in (batch, 2 * batch):
        return None
    places = call.constant(np.arange(keys, dtype=ends.dtype).reshape(1, 1, 1, keys))
    last = sliced(call, ends, (0,), [(0, batch, 1)])
    kept = call.emit("Less", places, call.emit("Reshape", last, shape=(batch, 1, 1, 1)))
    if ends.shape[0] == 2 * batch:
        first = sliced(call, ends, (0,), [(batch, 2 * batch, 1)])
        begun = call.emit("GreaterOrEqual", places, call.emit("Reshape", first, shape=(batch, 1, 1, 1)))
        kept = call.emit("And", kept, begun)
    return added_where(call, kept, low)


FORMS = (
    Form(("Attention",), _attention, "com.microsoft"),
    Form(("QAttention",), _quantised_attention, "com.microsoft"),
    Form(("MultiHeadAttention",), _multi_head, "com.microsoft"),
)
