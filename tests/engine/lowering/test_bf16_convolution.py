"""Convolutions of bfloat16 round their operands half to even and nothing else, and are of the same bits for any threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference.onnx_builder import ModelBuilder
from windows_drawn import drawn_sizes

from engine import Engine
from engine.kernels.simd.pairs import HAS_PAIRS
from engine.lowering import builder, choose

Array = NDArray[Any]
needs_pairs = pytest.mark.skipif(not HAS_PAIRS, reason="this machine has no instructions for bfloat16")
FORCED: dict[str, Any] = {"precision": "bf16", "kernel": "dense_bf16"}


def rounded(x: Array) -> Array:
    """float32 to the nearest number of eight significant bits, half to even, as float64."""
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    kept = (bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1))) & np.uint64(0xFFFF0000)
    return kept.astype(np.uint32).view(np.float32).astype(np.float64)


def convolved(x: Array, w: Array, attrs: dict[str, Any]) -> Array:
    """The convolution over one or two axes in float64, tap by tap."""
    axes, groups = x.ndim - 2, attrs.get("group", 1)
    strides, dilations = attrs.get("strides", [1] * axes), attrs.get("dilations", [1] * axes)
    pads = attrs.get("pads", [0] * (2 * axes))
    x = np.pad(x, [(0, 0), (0, 0), *((pads[axis], pads[axis + axes]) for axis in range(axes))])
    reach = [(size - 1) * step for size, step in zip(w.shape[2:], dilations, strict=True)]
    after = [(x.shape[2 + axis] - reach[axis] - 1) // strides[axis] + 1 for axis in range(axes)]
    y = np.zeros((x.shape[0], w.shape[0], *after))
    parts, per_in, per_out = range(groups), w.shape[1], w.shape[0] // groups
    for tap in np.ndindex(w.shape[2:]):
        places = zip(tap, dilations, strides, after, strict=True)
        steps = [slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, s, n in places]
        view = x[:, :, *steps]
        for group in parts:
            own, seen = (
                slice(group * per_out, (group + 1) * per_out),
                slice(group * per_in, (group + 1) * per_in),
            )
            y[:, own] += np.einsum("mc,bc...->bm...", w[(own, slice(None), *tap)], view[:, seen])
    return y


class Case:
    """One convolution: its model, an input, and what comes out; with what else its step does."""

    def __init__(self, image: tuple[int, ...], weights: tuple[int, ...], end: str = "", **attrs: Any) -> None:
        source = np.random.default_rng([*image, *weights])
        self.w, bias = (source.standard_normal(size).astype(np.float32) for size in (weights, weights[:1]))
        self.x: Array = source.standard_normal(image).astype(np.float32)
        self.bias = bias.reshape(-1, *[1] * (len(image) - 2))
        self.last = source.standard_normal((96, weights[0], *[1] * (len(image) - 2))).astype(np.float32)
        b = ModelBuilder(17)
        x = b.input("x", np.float32, image)
        y = b.op("Conv", x, b.weight(self.w), b.weight(bias), **attrs)
        self.want, self.size = self.reference(self.w, attrs)
        self.want, self.size = self.want + self.bias, self.size + 4
        if "residual" in end:
            y, self.want = b.op("Add", y, x), self.want + self.x
        if "relu" in end:
            y, self.want = b.op("Relu", y), np.maximum(self.want, 0)
        if "clip" in end:
            y, self.want = b.op("Clip", y, b.number(-1.0), b.number(2.0)), np.clip(self.want, -1, 2)
        if "sigmoid" in end:
            y, self.want = b.op("Sigmoid", y), 1 / (1 + np.exp(-self.want))
        if "again" not in end or "residual" in end:
            b.output(y)
        if "again" in end:
            b.output(b.op("Conv", y, b.weight(self.last)))
        self.content = b.model().SerializeToString()

    def reference(self, w: Array, attrs: dict[str, Any]) -> tuple[Array, Array]:
        """The convolution of rounded operands in float64, and of their magnitudes."""
        x, w = rounded(self.x), rounded(w)
        return convolved(x, w, attrs), convolved(np.abs(x), np.abs(w), attrs)

    def engine(self, **options: Any) -> Engine:
        return Engine(self.content, batch_size=self.x.shape[0], **options)

    def check(self, y: Array) -> None:
        """The f32 grade of sums: 8 units of 2**-24 times the sum of magnitudes at most."""
        assert y.shape == self.want.shape
        assert np.all(np.abs(y - self.want) <= 8 * 2.0**-24 * self.size)


def kernels_of(engine: Engine) -> list[str]:
    assert engine.compiled is not None
    return [layer.kernel.split("__")[0] for layer in engine.compiled.plan.layers]


# image, weights, attributes: pixels below, at and above a panel, with few in a last vector; strips of rows that are whole
# and not; odd numbers of channels; windows in the product's step and in one of their own.
CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    ((1, 3, 8, 8), (5, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((2, 5, 7, 9), (12, 5, 1, 1), {}),
    ((1, 64, 7, 7), (40, 64, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((1, 4, 13, 11), (13, 4, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((3, 3, 17, 19), (7, 3, 7, 7), {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
    ((1, 3, 64, 64), (24, 3, 7, 7), {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
    ((1, 7, 33, 31), (26, 7, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((1, 6, 12, 10), (25, 6, 3, 3), {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    ((1, 5, 30, 30), (12, 5, 3, 5), {"dilations": [3, 2], "strides": [2, 3], "pads": [0, 4, 1, 2]}),
    ((2, 8, 9, 9), (16, 2, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((1, 6, 25, 24), (26, 3, 2, 2), {"group": 2, "strides": [1, 2]}),
    ((1, 34, 28, 28), (48, 34, 1, 1), {"strides": [2, 2]}),
    ((1, 34, 14, 14), (48, 34, 1, 1), {}),
    ((1, 3, 5, 5), (4, 3, 5, 5), {}),
    ((1, 3, 4, 30), (4, 3, 1, 7), {"strides": [4, 1]}),
    ((2, 3, 50), (4, 3, 5), {"strides": [2], "pads": [2, 1]}),
    ((1, 5, 700), (13, 5, 3), {"dilations": [4]}),
    ((1, 2, 3, 3), (2, 2, 2, 2), {"pads": [5, 6, 7, 8], "strides": [3, 3]}),
    ((1, 130, 7, 7), (70, 130, 1, 1), {}),
    ((1, 31, 170, 170), (27, 31, 3, 3), {"pads": [1, 1, 1, 1]}),
]


@needs_pairs
@pytest.mark.parametrize(("image", "weights", "attrs"), CASES)
def test_operands_are_rounded_and_sums_are_not(
    image: tuple[int, ...], weights: tuple[int, ...], attrs: dict[str, Any]
) -> None:
    case = Case(image, weights, **attrs)
    engine = case.engine(**FORCED)
    case.check(engine.run([case.x])[0])
    assert kernels_of(engine).count("dense_bf16") == 1


@pytest.mark.parametrize("family", ["amx_bf16", "amx_bf16_compressed"])
@pytest.mark.parametrize(("image", "weights", "attrs"), CASES[3:8])
def test_tiles_multiply_the_same_operands(
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    image: tuple[int, ...],
    weights: tuple[int, ...],
    attrs: dict[str, Any],
) -> None:
    """Emulated where the level has no tiles: they are offered here alone then."""
    monkeypatch.setattr(choose, "PRODUCT_ROWS", choose.ALL_ROWS)
    case = Case(image, weights, **attrs)
    engine = case.engine(precision="bf16", kernel=family)
    case.check(engine.run([case.x])[0])
    assert family in kernels_of(engine)


@needs_pairs
@pytest.mark.parametrize("end", ["relu", "clip", "sigmoid", "residual", "residual relu", "residual sigmoid"])
@pytest.mark.parametrize(("channels", "kernel"), [(24, 1), (40, 3), (13, 3)])
def test_the_end_of_the_step_is_float32(end: str, channels: int, kernel: int) -> None:
    pads = [kernel // 2] * 4
    case = Case((1, channels, 23, 21), (channels, channels, kernel, kernel), end, pads=pads)
    case.check(case.engine(**FORCED).run([case.x])[0])


@needs_pairs
@given(st.data())
def test_any_window_rounds_its_operands_alone(data: st.DataObject) -> None:
    image, weights, attrs = drawn_sizes(data)
    # Those that see one channel each stay float32.
    assume(attrs["group"] == 1 or weights[:2] != (image[1], 1))
    case = Case(image, weights, **attrs)
    case.check(case.engine(**FORCED).run([case.x])[0])


def _block(channels: int, size: int) -> tuple[bytes, Array]:
    """As in a residual network: narrow, 3 x 3, wide again and a sum; then windows at a stride, and means."""
    source, b = np.random.default_rng([channels, size]), ModelBuilder(17)

    def conv(x: str, m: int, c: int, kernel: int, **attrs: Any) -> str:
        w = source.standard_normal((m, c, kernel, kernel)) / np.sqrt(c * kernel**2)
        bias = b.weight(source.standard_normal(m).astype(np.float32))
        return b.op("Conv", x, b.weight(w.astype(np.float32)), bias, pads=[kernel // 2] * 4, **attrs)

    x = b.input("x", np.float32, (1, channels, size, size))
    narrow = b.op("Relu", conv(x, channels // 2, channels, 1))
    wide = conv(b.op("Relu", conv(narrow, channels // 2, channels // 2, 3)), channels, channels // 2, 1)
    summed = b.op("Relu", b.op("Add", wide, x))
    b.output(conv(summed, 30, channels, 3, strides=[2, 2]))
    b.output(b.op("GlobalAveragePool", summed))
    return b.model().SerializeToString(), source.standard_normal((1, channels, size, size)).astype(np.float32)


@needs_pairs
@pytest.mark.parametrize(("channels", "size"), [(64, 28), (26, 30), (96, 14), (48, 7)])
def test_bits_are_those_of_one_thread(channels: int, size: int) -> None:
    content, x = _block(channels, size)
    one, two = (Engine(content, num_cores=n, **FORCED).run([x]) for n in (1, 2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))


@needs_pairs
def test_results_go_from_product_to_product_as_pairs() -> None:
    content, _ = _block(64, 28)
    engine = Engine(content, **FORCED)
    made = kernels_of(engine)
    assert made.count("dense_bf16") == 4
    assert made.count("pixels_to_pairs") == 1, "of the image alone"


@needs_pairs
@pytest.mark.parametrize(
    ("size", "stride", "activation"), [(28, 1, "Relu"), (15, 2, "Sigmoid"), (7, 1, "Relu")]
)
def test_windows_of_one_channel_store_pairs_of_what_they_compute_in_float32(
    monkeypatch: pytest.MonkeyPatch, size: int, stride: int, activation: str
) -> None:
    source, b, image = np.random.default_rng([size, stride]), ModelBuilder(17), (1, 36, size, size)
    taps, last = (
        source.standard_normal(shape).astype(np.float32) for shape in ((36, 1, 3, 3), (96, 36, 1, 1))
    )
    y = b.op(
        "Conv", b.input("x", np.float32, image), b.weight(taps), group=36, strides=[stride] * 2, pads=[1] * 4
    )
    b.output(b.op("Conv", b.op(activation, y), b.weight(last)))
    content, x = b.model().SerializeToString(), source.standard_normal(image).astype(np.float32)
    stored = Engine(content, **FORCED)
    monkeypatch.setattr(builder, "stored_form", lambda *_: None)
    split = Engine(content, **FORCED)
    assert stored.run([x])[0].tobytes() == split.run([x])[0].tobytes()
    assert "pixels_to_pairs" not in kernels_of(stored)
    assert "pixels_to_pairs" in kernels_of(split)


@needs_pairs
@pytest.mark.parametrize("kernel", [1, 3])
def test_groups_are_read_as_pairs_of_all_channels(kernel: int) -> None:
    """Products of their own, in float32: one stores no pairs, whose place is that of all groups."""
    source, b, image = np.random.default_rng(kernel), ModelBuilder(17), (1, 96, 20, 20)
    weights = ((96, 24, kernel, kernel), (96, 96, 1, 1))
    first, last = (source.standard_normal(shape).astype(np.float32) for shape in weights)
    y = b.op("Conv", b.input("x", np.float32, image), b.weight(first), group=4, pads=[kernel // 2] * 4)
    b.output(y)
    b.output(b.op("Conv", y, b.weight(last)))
    engine = Engine(b.model().SerializeToString(), precision="bf16")
    summed, got = engine.run([source.standard_normal(image).astype(np.float32)])
    want, size = (convolved(f(rounded(summed)), f(rounded(last)), {}) for f in (np.asarray, np.abs))
    assert np.all(np.abs(got - want) <= 8 * 2.0**-24 * size)
    assert "dense_bf16" in kernels_of(engine)
    assert engine.compiled is not None
    assert any("4 groups" in layer.reason for layer in engine.compiled.plan.layers)


@needs_pairs
def test_pruned_weights_are_still_left_out() -> None:
    source, b, image = np.random.default_rng(3), ModelBuilder(17), (1, 64, 28, 28)
    w = source.standard_normal((64, 64, 3, 3)).astype(np.float32)
    w[source.random(w.shape) < 0.95] = 0
    b.output(b.op("Conv", b.input("x", np.float32, image), b.weight(w), pads=[1, 1, 1, 1]))
    made = kernels_of(Engine(b.model().SerializeToString(), precision="bf16"))
    assert "csr_f32" in made
    assert not any("bf16" in kernel for kernel in made)


@needs_pairs
def test_infinities_and_nan_stay_in_their_windows() -> None:
    case = Case((1, 2, 19, 19), (4, 2, 3, 3), pads=[1, 1, 1, 1])
    case.x[0, 0, 4, 4], case.x[0, 1, 18, 0] = np.nan, np.inf
    case.x[0, 0, 12, 12] = np.float32(3.4e38)
    seen = np.ones((19, 19), bool)
    seen[3:6, 3:6] = seen[17:, :2] = seen[11:14, 11:14] = False
    (got,) = case.engine(**FORCED).run([case.x])
    assert np.array_equal(np.isfinite(got[0, 0]) | ~seen, np.ones((19, 19), bool))
    assert not np.isfinite(got[0, :, 3:6, 3:6]).any()
    assert np.array_equal(
        got[..., seen], case.engine(**FORCED).run([np.where(np.abs(case.x) < 1e9, case.x, 0)])[0][..., seen]
    )


def test_without_being_asked_nothing_is_rounded() -> None:
    case = Case((1, 64, 14, 14), (32, 64, 3, 3), pads=[1, 1, 1, 1])
    assert not any("bf16" in kernel or "pairs" in kernel for kernel in kernels_of(case.engine()))


@pytest.mark.skipif(HAS_PAIRS, reason="this machine has instructions for bfloat16")
def test_where_the_machine_has_no_bfloat16_asking_for_it_changes_no_bit() -> None:
    case = Case((1, 64, 14, 14), (32, 64, 3, 3), pads=[1, 1, 1, 1])
    plain, asked = (case.engine(**options).run([case.x])[0] for options in ({}, {"precision": "bf16"}))
    assert plain.tobytes() == asked.tobytes()
