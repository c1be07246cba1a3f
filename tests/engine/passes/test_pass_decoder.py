"""Attention as decoders have it: rotated queries and keys, heads that share keys, causal masks, joined leading axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from form_check import check, node_of, random
from reference.onnx_builder import ModelBuilder

from engine import Engine, graph

LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Decoder:
    """One way of writing it.

    angles   constant; fed: computed from an input; batched: fed, for each sequence
    join     rows [b, s, h*d]; flat: [b*s, h*d], as a Gemm reads it
    """

    batch: int = 2
    length: int = 6
    heads: int = 4
    key_heads: int = 2
    depth: int = 8
    angles: str = "constant"
    join: str = "rows"
    swapped: bool = False
    scaled_sides: bool = True
    normed: bool = False

    def feeds(self) -> dict[str, np.ndarray]:
        arrays = {
            name: random(self.batch, self.length, heads * self.depth, seed=seed)
            for seed, (name, heads) in enumerate(
                (("q", self.heads), ("k", self.key_heads), ("v", self.key_heads))
            )
        }
        if self.angles != "constant":
            rows = self.batch if self.angles == "batched" else 1
            arrays["angles"] = random(rows, 1, self.length, self.depth, seed=9)
        return arrays


def _rotated(b: ModelBuilder, x: str, form: Decoder, angles: tuple[str, str]) -> str:
    cos, sin = angles
    half = form.depth // 2
    low = b.op("Slice", x, b.ints(0), b.ints(half), b.ints(3))
    high = b.op("Slice", x, b.ints(half), b.ints(2**62), b.ints(-1))
    turned = b.op("Concat", b.op("Neg", high), low, axis=-1)
    pair = b.op("Mul", x, cos), b.op("Mul", turned, sin)
    return b.op("Add", *(pair[::-1] if form.swapped else pair))


def _normed(b: ModelBuilder, x: str, form: Decoder, seed: int) -> str:
    """Heads normalised before they are transposed, as Qwen3 does: x is the Transpose of what is normalised."""
    split = next(str(node.input[0]) for node in b.nodes if x in node.output)
    square = b.op("ReduceMean", b.op("Pow", split, b.number(2)), axes=[-1])
    rows = b.op("Mul", split, b.op("Reciprocal", b.op("Sqrt", b.op("Add", square, b.number(1e-6)))))
    rows = b.op("Mul", b.weight(random(form.depth, seed=seed)), rows)
    return b.op("Transpose", rows, perm=[0, 2, 1, 3])


def _angles(b: ModelBuilder, form: Decoder) -> tuple[str, str]:
    if form.angles == "constant":
        found = random(1, 1, form.length, form.depth, seed=9)
        return b.weight(np.cos(found)), b.weight(np.sin(found))
    shape = form.feeds()["angles"].shape
    x = b.input("angles", np.float32, shape)
    return b.op("Cos", x), b.op("Sin", x)


def _heads(b: ModelBuilder, x: str, form: Decoder, heads: int) -> str:
    split = b.op("Reshape", x, b.ints(form.batch, form.length, heads, form.depth))
    return b.op("Transpose", split, perm=[0, 2, 1, 3])


def _repeated(b: ModelBuilder, x: str, form: Decoder) -> str:
    if form.heads == form.key_heads:
        return x
    times = form.heads // form.key_heads
    wide = b.op("Unsqueeze", x, b.ints(2))
    wide = b.op("Expand", wide, b.ints(form.batch, form.key_heads, times, form.length, form.depth))
    return b.op("Reshape", wide, b.ints(form.batch, form.heads, form.length, form.depth))


def write(b: ModelBuilder, form: Decoder) -> None:
    sizes = {"q": form.heads, "k": form.key_heads, "v": form.key_heads}
    q, k, v = (
        _heads(b, b.input(name, np.float32, (form.batch, form.length, heads * form.depth)), form, heads)
        for name, heads in sizes.items()
    )
    angles = _angles(b, form)
    if form.normed:
        q, k = (_normed(b, x, form, seed) for seed, x in enumerate((q, k), 20))
    q, k = (_rotated(b, x, form, angles) for x in (q, k))
    k, v = (_repeated(b, x, form) for x in (k, v))
    k = b.op("Transpose", k, perm=[0, 1, 3, 2])
    root = b.number(form.depth**-0.25)
    if form.scaled_sides:
        q, k = b.op("Mul", q, root), b.op("Mul", k, root)
    causal = np.tril(np.ones((1, 1, form.length, form.length), np.bool_))
    mask = b.op("Where", b.weight(causal), b.number(0.0), b.number(LOWEST))
    p = b.op("Softmax", b.op("Add", b.op("MatMul", q, k), mask), axis=-1)
    joined = b.op("Transpose", b.op("MatMul", p, v), perm=[0, 2, 1, 3])
    leading = (form.batch * form.length,) if form.join == "flat" else (form.batch, form.length)
    b.output(b.op("Reshape", joined, b.ints(*leading, form.heads * form.depth)))


FORMS = [
    Decoder(),
    Decoder(batch=1, join="flat"),
    Decoder(key_heads=4),
    Decoder(key_heads=1, heads=3),
    Decoder(angles="fed"),
    Decoder(batch=1, angles="fed"),
    Decoder(angles="batched", swapped=True),
    Decoder(batch=1, length=33, heads=8, key_heads=2, depth=32, scaled_sides=False),
    Decoder(batch=3, length=17, heads=6, key_heads=3, depth=10),
    Decoder(normed=True),
    Decoder(batch=1, length=20, heads=3, key_heads=3, depth=14, normed=True),
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_attention_and_rotation_are_found_and_compiled(form: Decoder) -> None:
    b = ModelBuilder(17)
    write(b, form)
    feeds = form.feeds()
    after = check(b, feeds)
    found = graph.census(after)
    assert (found["attention"], found["rotary"], found["Expand"], found["MatMul"]) == (
        1,
        2,
        2 * (form.angles == "fed" and form.batch > 1),
        0,
    )
    assert node_of(after, "attention").attrs.get("key_heads", form.heads) == form.key_heads
    assert found["layer_norm"] == 2 * form.normed
    assert found["Reshape"] <= 2
    if any(array.shape[0] != form.batch for array in feeds.values()):
        # An engine is compiled for one batch size of all inputs.
        return
    results = []
    for cores in (1, 2):
        engine = Engine(b.model().SerializeToString(), batch_size=form.batch, num_cores=cores)
        assert engine.fraction_of_supported_ops == 1.0
        results.append(engine.run([feeds[name] for name in engine.input_names])[0])
    assert np.array_equal(results[0], results[1])
    np.testing.assert_allclose(results[0], graph.evaluate(after, feeds)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", [FORMS[0], FORMS[6]], ids=str)
def test_in_bfloat16_as_well(form: Decoder) -> None:
    b = ModelBuilder(17)
    write(b, form)
    feeds = form.feeds()
    after = check(b, feeds)
    engine = Engine(b.model().SerializeToString(), batch_size=form.batch, precision="bf16")
    (got,) = engine.run([feeds[name] for name in engine.input_names])
    np.testing.assert_allclose(got, graph.evaluate(after, feeds)[0], rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "change", ["other half", "no sign", "own angles", "read elsewhere", "another axis"], ids=str
)
def test_what_is_no_rotation_stays(change: str) -> None:
    b = ModelBuilder(17)
    x = b.op("Transpose", b.input("x", np.float32, (1, 6, 2, 8)), perm=[0, 2, 1, 3])
    first, second = ([0, 4], [4, 8]) if change != "other half" else ([4, 8], [0, 4])
    axis = 2 if change == "another axis" else 3
    if axis == 2:
        first, second = [0, 3], [3, 6]
    low, high = (b.op("Slice", x, b.ints(lo), b.ints(hi), b.ints(axis)) for lo, hi in (first, second))
    turned = b.op("Concat", high if change == "no sign" else b.op("Neg", high), low, axis=axis)
    shape = (1, 2, 6, 8) if change == "own angles" else (1, 1, 6, 8)
    cos, sin = (b.weight(random(*shape, seed=seed)) for seed in (1, 2))
    b.output(b.op("Add", b.op("Mul", x, cos), b.op("Mul", turned, sin)))
    if change == "read elsewhere":
        b.output(turned)
    after = check(b, {"x": random(1, 6, 2, 8)})
    assert graph.census(after)["rotary"] == 0


def test_heads_repeated_in_turns_stay() -> None:
    """Repeated as a whole (a, b, a, b), not head by head."""
    b = ModelBuilder(17)
    form: Any = Decoder(batch=1)
    q = _heads(b, b.input("q", np.float32, (1, 6, 32)), form, 4)
    rows = _heads(b, b.input("k", np.float32, (1, 6, 16)), form, 2)
    keys = b.op("Expand", b.op("Unsqueeze", rows, b.ints(1)), b.ints(1, 2, 2, 6, 8))
    keys = b.op("Reshape", keys, b.ints(1, 4, 6, 8))
    p = b.op("Softmax", b.op("MatMul", q, b.op("Transpose", keys, perm=[0, 1, 3, 2])), axis=-1)
    context = b.op("Transpose", b.op("MatMul", p, q), perm=[0, 2, 1, 3])
    b.output(b.op("Reshape", context, b.ints(1, 6, 32)))
    after = check(b, {"q": random(1, 6, 32), "k": random(1, 6, 16, seed=4)})
    assert graph.census(after)["attention"] == 0
