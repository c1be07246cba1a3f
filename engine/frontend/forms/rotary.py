"""Rotary embeddings (RotaryEmbedding of opset 23, and ONNX Runtime's own) in elementary steps.

    x[..., :r] ── halves u, v ──┬── u * cos - v * sin ──┐
                                └── v * cos + u * sin ── joined ── Concat(x[..., r:]) ── y

Halves are the first and the second r / 2 features, or, interleaved, those at even and at odd places.
"""

from __future__ import annotations

from engine.frontend.form import Call, Form, Values
from engine.frontend.forms.movement import sliced
from engine.graph import Value

CONTRIB = "com.microsoft"


def _part(call: Call, x: Value, start: int, end: int, step: int = 1) -> Value:
    """Features start, start + step ... below end."""
    return sliced(call, x, (len(x.shape) - 1,), [(start, end, step)])


def _joined(call: Call, first: Value, second: Value) -> Value:
    return call.emit("Concat", first, second, axis=len(first.shape) - 1)


def _rows(call: Call, cache: Value, ids: Value | None, shape: tuple[int, ...], *, heads_first: bool) -> Value:
    """A cache [positions, r / 2] at the ids, or one [b, s, r / 2] as it is, with an axis for the heads."""
    if ids is not None:
        cache = call.emit("Gather", cache, ids, axis=0)
    half, (batch, length) = cache.shape[-1], shape
    return call.emit(
        "Reshape", cache, shape=(batch, 1, length, half) if heads_first else (batch, length, 1, half)
    )


def _turned(call: Call, x: Value, caches: tuple[Value, Value], *, interleaved: bool) -> Value:
    cos, sin = caches
    size = 2 * cos.shape[-1]
    if interleaved:
        u, v = (_part(call, x, start, size, 2) for start in (0, 1))
    else:
        u, v = _part(call, x, 0, size // 2), _part(call, x, size // 2, size)
    real = call.emit("Sub", call.emit("Mul", u, cos), call.emit("Mul", v, sin))
    imaginary = call.emit("Add", call.emit("Mul", v, cos), call.emit("Mul", u, sin))
    if not interleaved:
        return _joined(call, real, imaginary)
    pair = (*real.shape, 1)
    u, v = (call.emit("Reshape", value, shape=pair) for value in (real, imaginary))
    return call.emit("Reshape", _joined(call, u, v), shape=(*real.shape[:-1], size))


def _rotate(call: Call, cos: Value, sin: Value, ids: Value | None) -> Values | None:
    x, attrs = call.input(0), call.attrs
    size = int(attrs.get("rotary_embedding_dim", 0))
    flat = len(x.shape) == 3
    heads = int(attrs.get("num_heads", 0)) or (x.shape[-1] // (size or 2 * cos.shape[-1]) if flat else 0)
    if flat and (not heads or x.shape[-1] % heads):
        return None
    batch, length = x.shape[:2] if flat else (x.shape[0], x.shape[2])
    wide = call.emit("Reshape", x, shape=(batch, length, heads, x.shape[-1] // heads)) if flat else x
    depth = wide.shape[-1]
    size = size or depth
    caches = (
        _rows(call, cos, ids, (batch, length), heads_first=not flat),
        _rows(call, sin, ids, (batch, length), heads_first=not flat),
    )
    y = _turned(call, wide, caches, interleaved=bool(attrs.get("interleaved", 0)))
    if size < depth:
        y = _joined(call, y, _part(call, wide, size, depth))
    return (call.emit("Reshape", y, shape=x.shape) if flat else y,)


def _standard(call: Call) -> Values | None:
    return _rotate(call, call.input(1), call.input(2), call.optional(3))


def _contrib(call: Call) -> Values | None:
    """ids before the caches; one id stands for the first position of all sequences."""
    ids = call.input(1)
    known = float(call.attrs.get("scale", 1.0)) == 1 and not int(call.attrs.get("is_packed_batching", 0))
    return _rotate(call, call.input(2), call.input(3), ids) if known and len(ids.shape) == 2 else None


FORMS = (
    Form(("RotaryEmbedding",), _standard),
    Form(("RotaryEmbedding",), _contrib, CONTRIB),
)
