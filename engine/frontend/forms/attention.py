"""Attention of opset 23 and 24, where it keeps no keys and values of earlier calls.

q, k, v [b, h, s, d] or [b, s, h*d]    =>    q, k, v [b, s, h*d], mask ── attention ── y
"""

from __future__ import annotations

import numpy as np

from engine.frontend.form import Call, Form, Values
from engine.frontend.forms._attention import (
    added_where,
    attended,
    causal,
    heads_of_rows,
    rows_of_heads,
    total,
)
from engine.graph import Value

# Added for a key that is not to be seen. A query that sees none answers zero, as in ONNX Runtime.
UNSEEN = float(-np.inf)


def _attention(call: Call) -> Values | None:
    attrs = call.attrs
    q, k, v = (call.input(index) for index in range(3))
    named = [name for name in call.operation.outputs if name]
    past = any(call.optional(index) is not None for index in range(4, len(call.inputs)))
    if past or len(named) > 1 or attrs.get("softcap") or q.dtype != np.float32:
        return None
    separate = len(q.shape) == 4
    heads = q.shape[1] if separate else attrs.get("q_num_heads")
    kept = k.shape[1] if separate else attrs.get("kv_num_heads")
    if heads is None or heads != kept:
        return None
    parts = [rows_of_heads(call, x) if separate else x for x in (q, k, v)]
    scores = (q.shape[0], heads, parts[0].shape[1], parts[1].shape[1])
    mask = _mask(call, scores)
    multiplier = attrs.get("scale") or 1.0 / float(np.sqrt(parts[0].shape[2] // heads))
    operands = (parts[0], parts[1], parts[2])
    y = attended(call, operands, heads, multiplier, mask, zero_masked_rows=mask is not None)
    return (heads_of_rows(call, y, heads) if separate else y,)


def _mask(call: Call, scores: tuple[int, ...]) -> Value | None:
    mask = call.optional(3)
    if mask is not None and mask.dtype == np.bool_:
        mask = added_where(call, mask, UNSEEN)
    if mask is not None and mask.shape[-1] < scores[-1]:
        missing = (0,) * (2 * len(mask.shape) - 1) + (scores[-1] - mask.shape[-1],)
        fill = call.constant(np.asarray(UNSEEN, np.float32))
        mask = call.emit("Pad", mask, fill, pads=missing, mode="constant")
    if call.attrs.get("is_causal"):
        mask = total(call, mask, causal(call, scores[2], scores[3], UNSEEN))
    return mask


FORMS = (Form(("Attention",), _attention),)
