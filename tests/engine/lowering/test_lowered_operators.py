"""Every operator with a kernel, lowered alone and compared with its meaning in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.graph import Graph, Value, constant, evaluate, graph_input, node
from engine.lowering import lower
from engine.lowering.machine import Machine
from engine.plan.build import Plan, build
from engine.plan.weights import WeightStore
from engine.runtime.runner import run_plan
from engine.runtime.teams import team_of

Array = NDArray[Any]
F32, I64, U8 = np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.uint8)
SOURCE = np.random.default_rng(7)


def compiled(outputs: Sequence[Value], inputs: Sequence[Value]) -> tuple[Graph, Plan]:
    graph = Graph(tuple(inputs), tuple(outputs), tuple(f"y{i}" for i in range(len(outputs))))
    team = team_of(2)
    return graph, build(lower(graph, Machine(team.members, 1 << 20), WeightStore()), team.members)


def check(
    outputs: Sequence[Value], feeds: dict[Value, Array], *, atol: float = 1e-5, host: bool = False
) -> None:
    graph, plan = compiled(outputs, list(feeds))
    assert any(layer.kernel == "host" for layer in plan.layers) is host
    got = run_plan(plan, team_of(2), list(feeds.values()))
    expected = evaluate(graph, {value.node.name: array for value, array in feeds.items()})
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, atol=atol, rtol=1e-5)


def floats(*shape: int, scale: float = 1.0) -> Array:
    return (SOURCE.standard_normal(shape) * scale).astype(np.float32)


def fed(name: str, array: Array) -> tuple[Value, Array]:
    return graph_input(name, array.dtype, array.shape), array


SHAPES = [(1, 1, 1), (1, 17, 5), (3, 16, 20), (2, 33, 64), (5, 130, 7), (4, 9), (70, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axes", ["km", "mk"])
def test_linear(shape: tuple[int, ...], axes: str) -> None:
    x, array = fed("x", floats(*shape))
    weights = floats(shape[-1], 11) if axes == "km" else floats(11, shape[-1])
    residual, addend = fed("r", floats(*shape[:-1], 11))
    options: dict[str, Any] = {"weight_axes": axes, "activation": "gelu", "store": None}
    y = node("linear", x, constant(weights), constant(floats(11)), residual, **options)[0]
    check([y], {x: array, residual: addend})


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "zero"), [(np.int8, 0), (np.uint8, 128)])
@pytest.mark.parametrize("per_channel", [False, True])
def test_quantized_linear(shape: tuple[int, ...], dtype: Any, zero: int, per_channel: bool) -> None:
    x, array = fed("x", floats(*shape))
    xq = node("quantize", x, scale=np.float32(0.05), zero_point=117)[0]
    info = np.iinfo(dtype)
    weights = SOURCE.integers(info.min, info.max, (shape[-1], 13), endpoint=True).astype(dtype)
    scale = np.abs(floats(13 if per_channel else 1, scale=1e-3)) + np.float32(1e-4)
    whole = SOURCE.integers(-1000, 1000, 13).astype(np.int32)
    options: dict[str, Any] = {
        "weight_axes": "km",
        "weight_zero": zero,
        "zero_point": 117,
        "activation": "none",
    }
    inputs = (xq, constant(weights), constant(scale), constant(whole), constant(floats(13)))
    plain = node("quantized_linear", *inputs, store=None, product=None, **options)[0]
    stored = node(
        "quantized_linear", *inputs, store=("quantized", np.float32(0.1), 90), product=None, **options
    )[0]
    check([plain, stored], {x: array}, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("more", [{}, {"keeps_mean": True}], ids=str)
def test_layer_norm(shape: tuple[int, ...], rounded: bool, more: dict[str, Any]) -> None:
    x, array = fed("x", floats(*shape) * 3 + 1)
    k = shape[-1]
    quantize = (np.float32(2.0**-5), 120)
    gain, bias = constant(floats(k)), constant(floats(k))
    both = node("layer_norm", x, gain, bias, epsilon=1e-5, quantize=quantize, rounded=rounded, **more)
    plain = node("layer_norm", x, gain, None, epsilon=1e-5, quantize=None, rounded=False, **more)
    check([plain[0]], {x: array}, atol=2e-5)
    # A rounding may fall the other way where the f32 value is a last bit off: one step at most.
    check([both[0], both[1]], {x: array}, atol=1.0)


@pytest.mark.parametrize("shape", [(1, 5, 12), (2, 33, 24), (3, 17, 60)])
@pytest.mark.parametrize("heads", [2, 3])
@pytest.mark.parametrize("more", [{}, {"keeps_mean": True}], ids=str)
def test_norm_of_heads(shape: tuple[int, ...], heads: int, more: dict[str, Any]) -> None:
    x, array = fed("x", floats(*shape) * 3 + 1)
    gain, bias = (constant(floats(shape[-1] // heads)) for _ in range(2))
    attrs = {"epsilon": 1e-5, "quantize": None, "rounded": False, "heads": heads, **more}
    check([node("layer_norm", x, gain, bias, **attrs)[0]], {x: array}, atol=2e-5)


@pytest.mark.parametrize("table", [np.float32, np.int8, np.uint8])
@pytest.mark.parametrize(
    ("ids_shape", "leading"), [((2, 5), (2, 5)), ((1, 5), (3, 5)), ((7,), (7,)), ((18,), (2, 18))]
)
def test_embedding(table: Any, ids_shape: tuple[int, ...], leading: tuple[int, ...]) -> None:
    ids, array = fed("ids", SOURCE.integers(-20, 20, ids_shape))
    rows = floats(20, 37) if table is np.float32 else SOURCE.integers(0, 100, (20, 37)).astype(table)
    quantisation = None if table is np.float32 else (np.float32(0.25), 7)
    residual, addend = fed("r", floats(*leading, 37))
    use = residual if ids_shape != leading or len(leading) > 1 else None
    y = node("embedding", ids, constant(rows), use, quantisation=quantisation)[0]
    check([y], {ids: array, residual: addend} if use is not None else {ids: array})


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 17, 5), (3, 16, 20), (2, 33, 64), (5, 130, 7), (2, 70, 33)])
def test_weighted_sum(shape: tuple[int, ...]) -> None:
    x, array = fed("x", floats(*shape))
    w, weights = fed("w", SOURCE.integers(0, 3, (*shape[:2], 1)).astype(np.float32))
    array[:, 0], weights[:, 0] = np.inf, 0
    check([node("weighted_sum", node("Neg", x)[0], w)[0]], {x: array, w: weights}, atol=1e-6)


PRODUCT, SCALED, MASKED = (np.float32(0.25), 120), (np.float32(2.0**-5), 130), (np.float32(2.0**-4), 200)
ROUNDED_SCORES: list[Any] = [
    None,
    (PRODUCT, None, None),
    (None, SCALED, None),
    (None, None, MASKED),
    (PRODUCT, SCALED, MASKED),
]

MASKS: list[Callable[[int, int, int, int], tuple[int, ...]]] = [
    lambda b, h, s, t: (b, 1, 1, t),
    lambda b, h, s, t: (1, 1, s, t),
    lambda b, h, s, t: (b, h, s, t),
    lambda b, h, s, t: (t,),
]


@pytest.mark.parametrize(
    ("b", "s", "t", "heads", "depth"),
    [
        (1, 16, 16, 1, 8),
        (2, 5, 5, 3, 4),
        (3, 20, 33, 2, 16),
        (1, 130, 130, 2, 20),
        (2, 1, 7, 1, 3),
        (5, 18, 18, 1, 1),
    ],
)
@pytest.mark.parametrize("mask_shape", [None, *MASKS])
def test_attention(b: int, s: int, t: int, heads: int, depth: int, mask_shape: Any) -> None:
    q, k, v = (fed(n, floats(b, length, heads * depth)) for n, length in (("q", s), ("k", t), ("v", t)))
    feeds = dict([q, k, v])
    mask = None
    if mask_shape is not None:
        mask, array = fed(
            "mask", np.where(SOURCE.random(mask_shape(b, heads, s, t)) < 0.3, -10000, 0).astype(np.float32)
        )
        feeds[mask] = array
    plain: dict[str, Any] = {
        "probability": None,
        "scores": None,
        "score_multiplier": np.float32(1),
        "store": None,
    }
    options: dict[str, Any] = {"heads": heads, "multiplier": np.float32(0.3), "zero_masked_rows": False}
    y = node("attention", q[0], k[0], v[0], mask, **options, context_multiplier=np.float32(1), **plain)[0]
    check([y], feeds, atol=3e-5)


def test_attention_of_a_quantised_graph_sums_whole_numbers_exactly() -> None:
    b, s, heads, depth = 2, 21, 2, 8
    q, k, v = (fed(n, SOURCE.integers(-128, 128, (b, s, heads * depth)).astype(np.float32)) for n in "qkv")
    options: dict[str, Any] = {
        "heads": heads,
        "multiplier": np.float32(1e-3),
        "context_multiplier": np.float32(2.0**-7),
    }
    rounding: dict[str, Any] = {
        "probability": (np.float32(1 / 255), 0),
        "scores": None,
        "score_multiplier": np.float32(1),
    }
    store = ("quantized", np.float32(0.5), 130)
    y = node("attention", q[0], k[0], v[0], zero_masked_rows=False, store=store, **options, **rounding)[0]
    graph, plan = compiled([y], [q[0], k[0], v[0]])
    mine = run_plan(plan, team_of(2), [q[1], k[1], v[1]])[0].astype(int)
    theirs = evaluate(graph, {"q": q[1], "k": k[1], "v": v[1]})[0].astype(int)
    # Probabilities are a last bit off at most, so a rounding may differ now and then, by one step.
    assert np.abs(mine - theirs).max() <= 1
    assert np.mean(mine != theirs) < 0.01


@pytest.mark.parametrize("mask_shape", [None, *MASKS])
@pytest.mark.parametrize("scores", ROUNDED_SCORES[1:])
def test_attention_rounds_scores_where_the_graph_does(scores: Any, mask_shape: Any) -> None:
    b, s, heads, depth = 2, 21, 2, 8
    feeds = dict(fed(n, SOURCE.integers(-6, 7, (b, s, heads * depth)).astype(np.float32)) for n in "qkv")
    inputs: list[Value] = list(feeds)
    if mask_shape is not None:
        mask, array = fed("mask", -8 * SOURCE.integers(0, 2, mask_shape(b, heads, s, s)).astype(np.float32))
        feeds[mask] = array
        inputs.append(mask)
    options: dict[str, Any] = {"heads": heads, "probability": None, "store": None, "zero_masked_rows": False}
    # Whole numbers and powers of two: every score is exact, so that none is rounded another way.
    factors: dict[str, Any] = {name: np.float32(2.0**-3) for name in ("multiplier", "score_multiplier")}
    y = node("attention", *inputs, scores=scores, context_multiplier=np.float32(1), **factors, **options)[0]
    check([y], feeds, atol=3e-5)


@pytest.mark.parametrize(
    ("b", "s", "heads", "depth"), [(1, 1, 1, 4), (2, 21, 2, 8), (3, 50, 3, 20), (1, 130, 2, 64)]
)
@pytest.mark.parametrize("zeros", [(128, 128, 128), (0, 255, 7), (117, 0, 255)])
@pytest.mark.parametrize("scores", ROUNDED_SCORES)
def test_attention_of_bytes(
    b: int, s: int, heads: int, depth: int, zeros: tuple[int, ...], scores: Any
) -> None:
    feeds = dict(fed(n, floats(b, s, heads * depth)) for n in "qkv")
    stored = [
        node("quantize", value, scale=np.float32(0.02), zero_point=zero)[0]
        for value, zero in zip(feeds, zeros, strict=True)
    ]
    mask, array = fed("mask", np.where(SOURCE.random((b, 1, 1, s)) < 0.3, -10000, 0).astype(np.float32))
    options: dict[str, Any] = {
        "heads": heads,
        "multiplier": np.float32(2e-4),
        "score_multiplier": np.float32(1e-4),
    }
    options |= {"context_multiplier": np.float32(2.0**-7), "probability": (np.float32(1 / 255), 0)}
    options |= dict(zip(("q_zero", "k_zero", "v_zero"), zeros, strict=True))
    if scores is not None and scores[0] is not None:
        options["multiplier"] = np.float32(0.5)
    y = node(
        "quantized_attention", *stored, mask, zero_masked_rows=False, scores=scores, store=None, **options
    )[0]
    feeds[mask] = array
    graph, plan = compiled([y], list(feeds))
    assert any(layer.kernel.startswith("attention_u8") for layer in plan.layers)
    mine = run_plan(plan, team_of(2), list(feeds.values()))[0]
    theirs = evaluate(graph, {value.node.name: held for value, held in feeds.items()})[0]
    # One probability a step off moves a context by at most 255 / 128; few are.
    off = np.abs(mine - theirs)
    assert off.max() <= 4
    assert np.mean(off > 1e-5) < 0.02


def test_attention_wholly_masked_rows() -> None:
    q, k, v = (fed(n, floats(1, 4, 8)) for n in "qkv")
    mask, array = fed("mask", np.full((1, 1, 4, 4), -np.inf, np.float32))
    array[0, 0, 0, 0] = 0
    options: dict[str, Any] = {
        "heads": 2,
        "multiplier": np.float32(1),
        "context_multiplier": np.float32(1),
        "store": None,
    }
    options |= {"probability": None, "scores": None, "score_multiplier": np.float32(1)}
    zeros = node("attention", q[0], k[0], v[0], mask, zero_masked_rows=True, **options)[0]
    nans = node("attention", q[0], k[0], v[0], mask, zero_masked_rows=False, **options)[0]
    check([zeros, nans], {**dict([q, k, v]), mask: array})


@pytest.mark.parametrize("shape", [(3, 5), (2, 21, 7), (1, 70, 64), (4, 1, 130)])
def test_byte_table(shape: tuple[int, ...]) -> None:
    x, array = fed("x", floats(*shape))
    table = SOURCE.permutation(256).astype(np.uint8)
    stored = node("quantize", x, scale=np.float32(0.01), zero_point=128)[0]
    check([node("byte_table", stored, table=table)[0]], {x: array})


@pytest.mark.parametrize("op", ["quantize", "centre", "rounded"])
@pytest.mark.parametrize("shape", SHAPES)
def test_quantize(op: str, shape: tuple[int, ...]) -> None:
    x, array = fed("x", SOURCE.integers(-300, 300, shape).astype(np.float32) / 2)
    check([node(op, x, scale=np.float32(1.0), zero_point=101)[0]], {x: array}, atol=0)


def test_slices_of_features_are_views() -> None:
    x, array = fed("x", floats(2, 20, 10))
    y = node("Tanh", x)[0]
    part = node("Slice", y, axes=(2,), starts=(3,), ends=(5,), steps=(1,))[0]
    check([part, node("Relu", part)[0]], {x: array})


def test_positions_are_taken_by_constant_indices() -> None:
    x, array = fed("x", floats(3, 20, 10))
    y = node("Tanh", x)[0]
    first = node("Gather", y, constant(np.array(0)), axis=1)[0]
    some = node("Gather", y, constant(np.array([4, 19, 4])), axis=1)[0]
    part = node("Slice", y, axes=(1,), starts=(2,), ends=(12,), steps=(3,))[0]
    check([first, some, part], {x: array})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((3, 20, 10), (3, 20, 10)),
        ((2, 36, 5), (8, 9, 5)),
        ((8, 49, 6), (2, 196, 6)),
        ((1, 70, 3), (67, 3)),
        ((5, 4), (2, 4)),
    ],
)
def test_positions_are_taken_in_any_order(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    x, array = fed("x", floats(*before))
    count = int(np.prod(after[:-1]))
    places = constant(SOURCE.permutation(int(np.prod(before[:-1])))[:count].astype(np.int64))
    y = node("take_positions", node("Tanh", x)[0], places, shape=after)[0]
    check([y, node("Relu", y)[0]], {x: array})


def test_an_operator_without_a_kernel_runs_on_the_host_between_compiled_steps() -> None:
    x, array = fed("x", floats(2, 6, 8))
    y = node("Tanh", x)[0]
    softened = node("LogSoftmax", y, axis=1)[0]
    check([node("Relu", node("Sigmoid", softened)[0])[0], y], {x: array}, host=True)


def test_casts_of_activations_leave_panels() -> None:
    x, array = fed("x", floats(4, 5))
    positive = node("Cast", node("Relu", x)[0], to=np.dtype(np.bool_))[0]
    graph, plan = compiled([positive], [x])
    assert [layer.kernel == "host" for layer in plan.layers].count(True) == 0
    assert np.array_equal(run_plan(plan, team_of(2), [array])[0], evaluate(graph, {"x": array})[0])


def test_softmax_over_features() -> None:
    x, array = fed("x", floats(5, 7) * 10)
    check([node("Softmax", x, axis=-1)[0]], {x: array})


def test_weights_are_packed_once_for_all_plans() -> None:
    weights, store = constant(floats(8, 8)), WeightStore()
    for length in (3, 40):
        x = graph_input("x", F32, (1, length, 8))
        y = node("linear", x, weights, weight_axes="km", activation="none", store=None)[0]
        graph = Graph((x,), (y,), ("y",))
        build(lower(graph, Machine(3, 1 << 20), store), 3)
        count = len(store)
    assert count == len(store)
