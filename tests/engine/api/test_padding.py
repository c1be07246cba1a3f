"""Padding is not computed: outputs at tokens are the same to the bit, those at padding are zero."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from padding_masks import prefixes, with_holes

from engine import Engine
from engine.jit import compiled
from engine.kernels.row import aligned
from engine.runtime import ragged
from engine.runtime.ragged import arrange
from engine.runtime.walk import STALE, take_tiles

pytestmark = pytest.mark.xdist_group("cores")

EXPORTED = Path(__file__).parents[2] / "data" / "exported"
BATCH, LENGTH = 3, 24
# Positions of one sentence that take a panel of 64 lanes.
NARROW = 40
# Every attention of these leaves padding out, and nothing else looks across positions.
LEAVE_PADDING_OUT = (
    "albert_sdpa_ts14",
    "bert_eager_ts11",
    "bert_eager_ts17",
    "bert_extended",
    "bert_qdq_products",
    "bert_sdpa_dynamo18",
    "bert_sdpa_dynamo23",
    "bert_sdpa_ts17",
    "distilbert_sdpa_ts14",
    "electra_eager_ts17",
    "minilm_pooled_ts14",
    "roberta_eager_ts14",
    "xlm_roberta_sdpa_dynamo20",
)
# The same with attention, and products, of bfloat16 where the CPU has it.
IN_BF16 = ("bert_eager_ts17", "bert_qdq_products", "bert_sdpa_ts17", "minilm_pooled_ts14")
# Angles are read by whole vectors of positions, windows and biases by distance: tokens in front, padding behind them.
IN_FRONT = ("modernbert_eager_ts17", "mpnet_eager_ts14", "nomic_eager_ts17")
# Ranges over all positions, attention in pieces: their padding takes part.
COMPUTE_ALL = ("bert_dynamic", "mobilebert_eager_ts14", "deberta_eager_ts17")


MASKS = {
    "prefixes": prefixes(LENGTH, 24, 7, 17),
    "short": prefixes(LENGTH, 1, 2, 3),
    "one token less": prefixes(LENGTH, 24, 24, 23),
    "holes": with_holes(BATCH, LENGTH),
    "no padding": np.ones((BATCH, LENGTH), np.int64),
    "prefixes again": prefixes(LENGTH, 16, 16, 5),
}
# What leaves all positions in: outputs are those of the whole computation everywhere.
WHOLE = {
    "a sequence of padding": prefixes(LENGTH, 24, 0, 5),
    "numbers beyond one": 2 * prefixes(LENGTH, 24, 7, 17),
    "negative numbers": -prefixes(LENGTH, 24, 7, 17),
}


def _engines(name: str, precision: str = "f32") -> tuple[Engine, Engine]:
    shapes = [[BATCH, LENGTH]]
    file = str(EXPORTED / f"{name}.onnx")
    return (
        Engine(file, batch_size=BATCH, input_shapes=shapes, precision=precision),
        Engine(file, batch_size=BATCH, input_shapes=shapes, precision=precision, skip_padding=False),
    )


def _inputs(engine: Engine, mask: np.ndarray) -> list[np.ndarray]:
    source = np.random.default_rng(1)
    made = []
    for name, array in zip(engine.input_names, engine.generate_random_inputs(0), strict=True):
        if "mask" in name:
            made.append(mask.astype(array.dtype))
        else:
            made.append(source.integers(0, 1 if "type" in name else 40, array.shape).astype(array.dtype))
    return made


def _has_a_row_a_position(output: np.ndarray) -> bool:
    return output.shape[:2] == (BATCH, LENGTH)


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "f32") for name in LEAVE_PADDING_OUT), *((name, "bf16") for name in IN_BF16)],
)
def test_tokens_are_the_same_and_padding_is_zero(name: str, precision: str) -> None:
    skips, computes = _engines(name, precision)
    assert skips.compiled is not None
    assert skips.compiled.plan.ragged is not None
    for mask in MASKS.values():
        inputs = _inputs(skips, mask)
        for got, whole in zip(skips.run(inputs), computes.run(inputs), strict=True):
            if _has_a_row_a_position(got):
                assert np.array_equal(got[mask == 1], whole[mask == 1])
                assert not got[mask == 0].any()
            else:
                assert np.array_equal(got, whole)


@pytest.mark.parametrize("name", IN_FRONT)
@pytest.mark.parametrize("length", [LENGTH, 40, 48])
def test_padding_behind_the_tokens_is_zero_and_between_them_is_computed(name: str, length: int) -> None:
    file = str(EXPORTED / f"{name}.onnx")
    skips, computes = (
        Engine(file, input_shapes=[[BATCH, length]], skip_padding=skipped) for skipped in (True, False)
    )
    assert skips.compiled is not None
    assert skips.compiled.plan.ragged is not None
    lengths = [
        (length, 7, 17),
        (1, 2, 3),
        (length, length, length - 1),
        (16, length, 1),
        (5, 16, length - 16),
    ]
    holes = with_holes(BATCH, length)
    for mask in (prefixes(length, *lengths[0]), holes, *(prefixes(length, *each) for each in lengths[1:])):
        inputs = _inputs(skips, mask)
        (got, *_), (whole, *_) = skips.run(inputs), computes.run(inputs)
        assert np.array_equal(got[mask == 1], whole[mask == 1])
        assert (mask is holes) == bool(got[mask == 0].any())


@pytest.mark.parametrize("name", ["bert_eager_ts17", "bert_qdq_products"])
@pytest.mark.parametrize("mask", WHOLE.values(), ids=WHOLE.keys())
def test_masks_that_say_something_else_leave_all_in(name: str, mask: np.ndarray) -> None:
    skips, computes = _engines(name)
    skips.run(_inputs(skips, MASKS["prefixes"]))
    inputs = _inputs(skips, mask)
    for got, whole in zip(skips.run(inputs), computes.run(inputs), strict=True):
        assert np.array_equal(got, whole)


def test_a_position_the_model_looks_at_is_computed_though_it_is_padding() -> None:
    skips, computes = _engines("bert_eager_ts17")
    mask = prefixes(LENGTH, 24, 7, 17)[:, ::-1].copy()
    inputs = _inputs(skips, mask)
    for got, whole in zip(skips.run(inputs), computes.run(inputs), strict=True):
        assert not _has_a_row_a_position(got), "this model answers for position 0 only"
        assert np.array_equal(got, whole)


@pytest.mark.parametrize("name", COMPUTE_ALL)
def test_models_whose_padding_takes_part_compute_it(name: str) -> None:
    skips, _ = _engines(name)
    assert skips.compiled is not None
    assert skips.compiled.plan.ragged is None


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "f32") for name in LEAVE_PADDING_OUT), *((name, "bf16") for name in IN_BF16)],
)
def test_few_tokens_lie_in_narrow_panels_and_are_the_same(name: str, precision: str) -> None:
    file, shapes = str(EXPORTED / f"{name}.onnx"), [[1, NARROW]]
    skips, computes = (
        Engine(file, 1, input_shapes=shapes, precision=precision, skip_padding=skip) for skip in (True, False)
    )
    for length in (3, NARROW, 16, 17, 32, 33, 1):
        mask = prefixes(NARROW, length)
        inputs = _inputs(skips, mask)
        for got, whole in zip(skips.run(inputs), computes.run(inputs), strict=True):
            if got.shape[:2] == mask.shape:
                assert np.array_equal(got[mask == 1], whole[mask == 1])
                assert not got[mask == 0].any()
            else:
                assert np.array_equal(got, whole)
    variants = skips._plans.find(tuple([array.shape for array in inputs])).variants
    narrow = {machine.widest: plans for machine, plans in variants.items()}
    assert sorted(narrow) == [16, 32]
    for width, plans in narrow.items():
        ragged_plan = plans.plans[0].ragged
        assert ragged_plan is not None
        assert ragged_plan.lanes.width == width


def test_left_padded_sentences_and_full_ones_stay_in_wide_panels() -> None:
    skips = Engine(str(EXPORTED / "bert_eager_ts17.onnx"), batch_size=1, input_shapes=[[1, NARROW]])
    for mask in (prefixes(NARROW, 3)[:, ::-1].copy(), np.ones((1, NARROW), np.int64)):
        inputs = _inputs(skips, mask)
        skips.run(inputs)
        assert not skips._plans.find(tuple([array.shape for array in inputs])).variants


def _with_an_addend(folder: Path, batch: int, *, fed: bool) -> str:
    """An encoder that adds numbers for each position to its last layer: an input, or a constant for one sequence."""
    model = onnx.load(EXPORTED / "bert_sdpa_dynamo23.onnx")
    graph, shape = model.graph, [batch, LENGTH, 32]
    if fed:
        graph.input.append(helper.make_tensor_value_info("addend", TensorProto.FLOAT, shape))
    else:
        numbers = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(numbers, "addend"))
    graph.node.append(helper.make_node("Add", [graph.output[0].name, "addend"], ["sum"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, shape))
    onnx.save(model, folder / "added.onnx")
    return str(folder / "added.onnx")


@pytest.mark.parametrize("fed", [True, False], ids=["input", "constant"])
def test_numbers_for_each_position_are_added_where_they_belong(tmp_path: Path, fed: bool) -> None:
    batch = BATCH if fed else 1
    file, shapes = _with_an_addend(tmp_path, batch, fed=fed), [[batch, LENGTH]] * 3
    shapes += [[batch, LENGTH, 32]] if fed else []
    skips, computes = (Engine(file, batch, input_shapes=shapes, skip_padding=skip) for skip in (True, False))
    assert skips.compiled is not None
    assert (skips.compiled.plan.ragged is not None) is fed
    for mask in MASKS.values():
        inputs = _inputs(skips, mask[:batch])
        if fed:
            inputs[-1] = np.random.default_rng(5).standard_normal(inputs[-1].shape).astype(np.float32)
        got, whole = skips.run(inputs)[0], computes.run(inputs)[0]
        tokens = mask[:batch] == 1
        assert np.array_equal(got[tokens], whole[tokens])


def test_fewer_tokens_take_fewer_tiles() -> None:
    skips, _ = _engines("bert_eager_ts17")
    assert skips.compiled is not None
    plan = skips.compiled.plan
    skips.run(_inputs(skips, MASKS["no padding"]))
    whole = int(plan.table["tiles"].sum())
    skips.run(_inputs(skips, MASKS["short"]))
    assert int(plan.table["tiles"].sum()) < 0.7 * whole
    skips.run(_inputs(skips, MASKS["no padding"]))
    assert int(plan.table["tiles"].sum()) == whole


@compiled("i64", "i64", "i64", "i64", "i64")
def _late_member(row: int, counter: int, generation: int, scratch: int, mailbox: int) -> int:
    return take_tiles(row, counter, generation, scratch, 0, 1, mailbox)


def test_a_late_member_finds_no_tile_when_the_next_request_has_more() -> None:
    skips, _ = _engines("bert_eager_ts17")
    assert skips.compiled is not None
    plan = skips.compiled.plan
    assert plan.ragged is not None
    skips.run(_inputs(skips, MASKS["short"]))
    generation = int(plan.counters["claims"][0, 0]) >> 32
    few = plan.table["tiles"].copy()
    plan.ragged.mask[...] = 1
    assert arrange(plan.ragged, 1) is None
    grown = np.flatnonzero(plan.table["tiles"] > few)
    assert grown.size > 0
    scratch, mailbox = aligned(1 << 16, np.uint8), aligned(64, np.int64)
    for step in grown:
        row, counter = plan.table[step : step + 1].ctypes.data, plan.counters[step : step + 1].ctypes.data
        assert _late_member(row, counter, generation, scratch.ctypes.data, mailbox.ctypes.data) == STALE


def test_where_places_count_padding_before_a_token_is_computed() -> None:
    skips, _ = _engines("bert_eager_ts17")
    assert skips.compiled is not None
    assert skips.compiled.plan.ragged is not None
    plan = dataclasses.replace(skips.compiled.plan.ragged, by_place=True)
    for name, expected in (("holes", False), ("prefixes", True)):
        plan.mask[...] = MASKS[name]
        assert (arrange(plan, 1) is not None) is expected


@pytest.mark.parametrize("halfway", ["_lay_out", "_set_tiles", "_point"])
@pytest.mark.parametrize("masks", [("no padding", "short"), ("short", "no padding"), ("short", "holes")])
def test_an_interrupt_while_lanes_are_arranged_does_not_last(
    monkeypatch: pytest.MonkeyPatch, halfway: str, masks: tuple[str, str]
) -> None:
    """As Ctrl-C right after a part of the arrangement: the next requests have outputs of their own."""
    skips, computes = _engines("bert_eager_ts17")
    skips.run(_inputs(skips, MASKS[masks[0]]))
    done = getattr(ragged, halfway)

    def interrupted(*arguments: object) -> None:
        done(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(ragged, halfway, interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        skips.run(_inputs(skips, MASKS[masks[1]]))
    monkeypatch.undo()
    for mask in (MASKS[masks[0]], MASKS[masks[1]], MASKS["prefixes"]):
        inputs = _inputs(skips, mask)
        for got, whole in zip(skips.run(inputs), computes.run(inputs), strict=True):
            assert np.array_equal(got, whole)


def test_plans_of_two_streams_have_tables_of_their_own() -> None:
    file = str(EXPORTED / "bert_eager_ts17.onnx")
    shapes = [[BATCH, LENGTH]]
    engine = Engine(file, BATCH, num_streams=2, scheduler="multi_stream", input_shapes=shapes)
    alone = Engine(file, BATCH, input_shapes=shapes)
    requests = [_inputs(alone, mask) for mask in MASKS.values()]
    expected = [alone.run(inputs)[0] for inputs in requests]
    wrong: list[int] = []

    def call(first: int) -> None:
        for i in range(first, first + 300):
            which = i % len(requests)
            if not np.array_equal(engine.run(requests[which])[0], expected[which]):
                wrong.append(which)

    threads = [threading.Thread(target=call, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
