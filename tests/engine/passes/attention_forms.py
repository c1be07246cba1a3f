"""Writers of attention: the pieces that differ between them, as fields of one description."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from form_check import random
from reference.onnx_builder import ModelBuilder

LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Attention:
    """One way of writing attention over q, k, v [b, s, heads * depth].

    scaling  div, mul: on the scores; late: behind the mask; query: on q; both: on q and k; flat: on q unsplit
    keys     direct: one transpose; twice: two; batched: by way of [b*h, s, d]
    mask     none, additive [b,1,1,s], int (1 - m) * low, where (replaces scores), boolean (added Where);
             expanded: to [b,1,s,s] first; indexed, gathered: by flat index or GatherND; causal: that and i >= j
    """

    batch: int = 2
    length: int = 5
    heads: int = 3
    depth: int = 4
    scaling: str = "div"
    keys: str = "direct"
    mask: str = "int"
    guard: bool = False
    projected: bool = False
    quantised: str = "none"
    tapped: tuple[str, ...] = field(default_factory=tuple)

    @property
    def width(self) -> int:
        return self.heads * self.depth

    def feeds(self) -> dict[str, np.ndarray]:
        """Inputs; the last row of the mask is cut short."""
        shape = (self.batch, self.length, self.width)
        arrays = {name: random(*shape, seed=seed) for seed, name in enumerate("qkv")}
        mask = np.ones((self.batch, self.length), np.int64)
        mask[-1, (self.length + 1) // 2 :] = 0
        if self.mask == "additive":
            arrays["mask"] = random(self.batch, 1, 1, self.length, seed=8)
        elif self.mask != "none":
            arrays["mask"] = mask
        return arrays


def write(b: ModelBuilder, form: Attention) -> dict[str, str]:
    """Write the form; answers names: y and what may be tapped."""
    q, k, v = (b.input(name, np.float32, (form.batch, form.length, form.width)) for name in "qkv")
    if form.projected:
        q, k, v = (_projected(b, x, form, seed) for seed, x in enumerate((q, k, v)))
    root = form.depth**-0.5
    if form.scaling == "flat":
        q = b.op("Mul", q, b.number(root))
    queries, keys, values = (
        _split(b, q, form, (0, 2, 1, 3)),
        _keys(b, k, form),
        _split(b, v, form, (0, 2, 1, 3)),
    )
    if form.scaling == "query":
        queries = b.op("Div", queries, b.number(form.depth**0.5))
    if form.scaling == "both":
        queries, keys = (b.op("Mul", x, b.number(root**0.5)) for x in (queries, keys))
    scores = _product(b, queries, keys, form, (0.02, 0.025), (128, 117))
    scaled = _rounded(b, _scaled(b, scores, form, root), form, 0.03)
    masked = scaled if form.mask == "none" else _rounded(b, _masked(b, scaled, form), form, 0.04)
    if form.scaling == "late":
        masked = b.op("Mul", masked, b.number(root))
    p = b.op("Softmax", masked, axis=-1)
    guarded = b.op("Where", b.op("IsNaN", p), b.number(0), p) if form.guard else p
    context = _product(b, guarded, values, form, (1 / 255, 0.03), (0, 120))
    joined = b.op("Transpose", context, perm=[0, 2, 1, 3])
    y = b.op("Reshape", joined, b.ints(form.batch, form.length, form.width))
    return {
        "y": y,
        "scores": scores,
        "masked": masked,
        "p": p,
        "context": context,
        "queries": queries,
        "values": values,
    }


def _projected(b: ModelBuilder, x: str, form: Attention, seed: int) -> str:
    w = random(form.width, form.width, seed=20 + seed) * np.float32(0.4)
    return b.op("Add", b.weight(random(form.width, seed=seed)), b.op("MatMul", x, b.weight(w)))


def _split(b: ModelBuilder, x: str, form: Attention, perm: tuple[int, ...]) -> str:
    shape = b.ints(form.batch, form.length, form.heads, form.depth)
    return b.op("Transpose", b.op("Reshape", x, shape), perm=perm)


def _keys(b: ModelBuilder, k: str, form: Attention) -> str:
    if form.keys == "direct":
        return _split(b, k, form, (0, 2, 3, 1))
    rows = _split(b, k, form, (0, 2, 1, 3))
    if form.keys == "twice":
        return b.op("Transpose", rows, perm=[0, 1, 3, 2])
    flat = b.op("Reshape", rows, b.ints(-1, form.length, form.depth))
    swapped = b.op("Transpose", flat, perm=[0, 2, 1])
    return b.op("Reshape", swapped, b.ints(form.batch, form.heads, form.depth, form.length))


def _rounded(b: ModelBuilder, x: str, form: Attention, scale: float) -> str:
    """Rounded behind every node, as static quantisers write it."""
    if form.quantised != "everywhere":
        return x
    pair = (b.number(scale), b.number(160, np.uint8))
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *pair), *pair)


def _scaled(b: ModelBuilder, scores: str, form: Attention, root: float) -> str:
    if form.scaling == "div":
        return b.op("Div", scores, b.number(1 / root))
    return b.op("Mul", b.number(root), scores) if form.scaling == "mul" else scores


def _masked(b: ModelBuilder, scores: str, form: Attention) -> str:
    if form.mask == "none":
        return scores
    if form.mask == "additive":
        return b.op("Add", b.input("mask", np.float32, (form.batch, 1, 1, form.length)), scores)
    mask = b.input("mask", np.int64, (form.batch, form.length))
    if form.mask in ("expanded", "indexed", "gathered", "causal"):
        return b.op("Add", scores, _roundabout(b, mask, form))
    wide = b.op("Unsqueeze", b.op("Unsqueeze", mask, b.ints(1)), b.ints(2))
    if form.mask == "int":
        kept = b.op("Sub", b.number(1), b.op("Cast", wide, to=1))
        return b.op("Add", scores, b.op("Mul", kept, b.number(-10000)))
    low = b.number(-np.inf if form.guard else LOWEST)
    absent = b.op("Equal", wide, b.number(0, np.int64))
    if form.mask == "where":
        shape = b.ints(form.batch, form.heads, form.length, form.length)
        return b.op("Where", b.op("Expand", absent, shape), low, scores)
    return b.op("Add", scores, b.op("Where", absent, low, b.number(0)))


def _roundabout(b: ModelBuilder, mask: str, form: Attention) -> str:
    square = b.ints(form.batch, 1, form.length, form.length)
    if form.mask == "expanded":
        wide = b.op("Expand", b.op("Unsqueeze", mask, b.ints(1, 2)), square)
        absent = b.op("Sub", b.number(1), b.op("Cast", wide, to=1))
        return b.op("Where", b.op("Cast", absent, to=9), b.number(LOWEST), absent)
    rows, places = (_range(b, mask, axis) for axis in (0, 1))
    rows, keys = b.op("Unsqueeze", rows, b.ints(1, 2, 3)), b.op("Unsqueeze", places, b.ints(0, 1, 2))
    kept = b.op("Cast", mask, to=9)
    if form.mask == "gathered":
        shape = b.ints(form.batch, 1, 1, form.length)
        pair = [b.op("Unsqueeze", b.op("Expand", x, shape), b.ints(4)) for x in (rows, keys)]
        seen = b.op("GatherND", kept, b.op("Concat", *pair, axis=-1))
    else:
        flat = b.op("Add", b.op("Mul", rows, b.number(form.length, np.int64)), keys)
        seen = b.op("Gather", b.op("Reshape", kept, b.ints(-1)), flat, axis=0)
    last = b.number(form.length, np.int64)
    limit = b.op("Unsqueeze", places, b.ints(0, 1, 3)) if form.mask == "causal" else last
    seen = b.op("And", b.op("Expand", seen, square), b.op("LessOrEqual", keys, limit))
    return b.op("Where", seen, b.number(0), b.number(LOWEST))


def _range(b: ModelBuilder, x: str, axis: int) -> str:
    size = b.op("Gather", b.op("Shape", x), b.number(axis, np.int64), axis=0)
    return b.op("Range", b.number(0, np.int64), size, b.number(1, np.int64))


def _product(
    b: ModelBuilder,
    left: str,
    right: str,
    form: Attention,
    scales: tuple[float, float],
    zeros: tuple[int, int],
) -> str:
    if form.quantised == "none":
        return b.op("MatMul", left, right)
    dtype, shift = (np.int8, 128) if form.quantised == "signed qdq" else (np.uint8, 0)
    parameters = [(b.number(s), b.number(z - shift, dtype)) for s, z in zip(scales, zeros, strict=True)]
    sides = [b.op("QuantizeLinear", x, *pair) for x, pair in zip((left, right), parameters, strict=True)]
    if form.quantised == "integer":
        sums = b.op("MatMulInteger", *sides, parameters[0][1], parameters[1][1])
        return b.op("Mul", b.op("Cast", sums, to=1), b.weight(np.float32(scales[0] * scales[1])))
    y = b.op(
        "MatMul", *(b.op("DequantizeLinear", x, *pair) for x, pair in zip(sides, parameters, strict=True))
    )
    if form.quantised not in ("rounded qdq", "everywhere") or scales[0] == 1 / 255:
        return y
    pair = (b.number(0.125), b.number(125, np.uint8))
    return b.op("DequantizeLinear", b.op("QuantizeLinear", y, *pair), *pair)
