"""Large batches are computed part by part: outputs are those of engines that were asked for the parts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from padding_masks import prefixes
from small_models import lookup, perceptron, saved

from engine import Engine
from engine.api.explain import explain
from engine.bench.layers.measure import profile
from engine.compiler import MOST_TWICE, part_of
from engine.errors import InputError, RequestCancelledError
from engine.kernels.row import Array

pytestmark = pytest.mark.xdist_group("cores")

EXPORTED = Path(__file__).parents[2] / "data" / "exported"
LENGTH = 24


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the bytes that a part's largest step may take."""

    def set_bytes(size: int) -> None:
        monkeypatch.setattr("engine.api.engine.part_bytes", lambda: size)

    return set_bytes


def _starts(engine: Engine, inputs: list[Array]) -> tuple[int, ...]:
    return engine._plans.fitting(inputs).plans[0].starts


def _sentences(engine: Engine, mask: Array) -> list[Array]:
    drawn = engine.generate_random_inputs(0)
    named = zip(engine.input_names, drawn, strict=True)
    return [
        mask.astype(a.dtype) if "mask" in name else a % (1 if "type" in name else 40) for name, a in named
    ]


@pytest.mark.parametrize(
    ("batch", "most", "expected"),
    [
        (4, 4, 4),
        (16, 4, 4),
        (16, 5, 4),
        (16, 0, 1),
        (61, 32, 31),
        (8, 3, 2),
        (9, 4, 3),
        (5, 4, 5),
        (7, 3, 1),
        (7, 4, 7),
        (11, 4, 4),
        (2, 1, 1),
    ],
)
def test_items_of_a_part(batch: int, most: int, expected: int) -> None:
    assert part_of(batch, most) == expected


@given(st.integers(1, 400), st.integers(0, 500))
def test_parts_are_no_larger_than_wanted_and_little_is_computed_twice(batch: int, most: int) -> None:
    items = part_of(batch, most)
    if items != batch:
        assert 1 <= items <= max(most, 1)
        assert -(-batch // items) * items <= MOST_TWICE * batch


@pytest.mark.parametrize(
    ("name", "batch", "items"),
    [
        ("bert_eager_ts17", 6, 2),
        ("bert_sdpa_dynamo23", 6, 3),
        ("bert_qdq_products", 4, 1),
        ("bert_qoperator", 4, 2),
        ("minilm_pooled_ts14", 23, 8),
        ("deberta_eager_ts17", 4, 2),
    ],
)
def test_outputs_are_those_of_the_parts(name: str, batch: int, items: int, cut: Any) -> None:
    file = str(EXPORTED / f"{name}.onnx")
    cut(0)
    small = Engine(file, batch_size=items, input_shapes=[[items, LENGTH]])
    whole = Engine(file, batch_size=batch, input_shapes=[[batch, LENGTH]])
    cut(_bytes_for(file, batch, items))
    parts = Engine(file, batch_size=batch, input_shapes=[[batch, LENGTH]])
    assert parts.output_shapes == whole.output_shapes
    inputs = _sentences(parts, np.ones((batch, LENGTH), np.int64))
    starts = _starts(parts, inputs)
    assert starts == tuple(min(first, batch - items) for first in range(0, batch, items))
    got, expected = parts.run(inputs), whole.run(inputs)
    for first in starts:
        for mine, its in zip(got, small.run([a[first : first + items] for a in inputs]), strict=True):
            rows = len(mine) // batch
            assert np.array_equal(mine[rows * first : rows * (first + items)], its)
    for mine, its in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-4)


def _bytes_for(file: str, batch: int, items: int) -> int:
    """The least size that has parts of so many items."""
    from engine import passes
    from engine.frontend import bind, open_model
    from engine.passes.parts import held_bytes

    model = open_model(file)
    shapes = {entry.name: (batch, *(LENGTH,) * (len(entry.dims) - 1)) for entry in model.inputs}
    return -(-held_bytes(passes.run(bind(model, shapes))) * items // batch)


def test_the_last_part_repeats_what_is_missing_to_a_whole_one(cut: Any) -> None:
    cut(4 * (6 + 4) * 20)
    engine = Engine(perceptron(), batch_size=61)
    x = np.random.default_rng(0).standard_normal((61, 6)).astype(np.float32)
    assert _starts(engine, [x]) == (0, 9, 18, 27, 36, 45, 52)
    cut(0)
    np.testing.assert_allclose(
        engine.run([x])[0], Engine(perceptron(), batch_size=61).run([x])[0], rtol=1e-5, atol=1e-6
    )


def test_padding_is_left_out_of_parts_and_makes_them_larger(cut: Any) -> None:
    file, batch = str(EXPORTED / "bert_sdpa_ts17.onnx"), 8
    cut(_bytes_for(file, batch, 2))
    parts = Engine(file, batch_size=batch, input_shapes=[[batch, LENGTH]])
    cut(0)
    whole = Engine(file, batch_size=batch, input_shapes=[[batch, LENGTH]], skip_padding=False)
    # Lanes of a sentence: 32, or 16 where it has no more tokens.
    for lengths, count in (
        ((24, 7, 24, 24, 20, 24, 24, 24), 4),
        ((24, 7, 9, 16, 16, 16, 3, 24), 2),
        ((24,) * 8, 4),
    ):
        mask = prefixes(LENGTH, *lengths)
        inputs = _sentences(parts, mask)
        assert len(_starts(parts, inputs)) == count
        for got, expected in zip(parts.run(inputs), whole.run(inputs), strict=True):
            if got.shape[:2] == mask.shape:
                assert np.array_equal(got[mask == 1], expected[mask == 1])
                assert not got[mask == 0].any()
            else:
                assert np.array_equal(got, expected)


def test_no_more_room_is_made_than_for_the_whole_batch(cut: Any) -> None:
    file, batch, length = str(EXPORTED / "bert_sdpa_ts17.onnx"), 4, 40
    cut(_bytes_for(file, batch, 2) * length // LENGTH)
    engine = Engine(file, batch_size=batch, input_shapes=[[batch, length]])
    starts = []
    # Lanes of a sentence: 48, 32 or 16.
    for tokens in (40, 24, 9):
        inputs = _sentences(engine, prefixes(length, *(tokens,) * batch))
        starts.append(_starts(engine, inputs))
    assert starts == [(0, 2), (0,), (0,)]
    variants = engine._plans.find(tuple(array.shape for array in inputs)).variants
    assert len({machine.part_bytes for machine in variants}) == 1


@pytest.mark.parametrize("name", ["bert_eager_ts17", "bert_qdq_products", "minilm_pooled_ts14"])
@pytest.mark.parametrize("length", [3, 18, 24, 40])
def test_parts_of_any_size_have_the_bits_of_the_whole(name: str, length: int, cut: Any) -> None:
    file, batch = str(EXPORTED / f"{name}.onnx"), 6
    found = []
    for items in (6, 3, 2, 1):
        cut(0 if items == batch else _bytes_for(file, batch, items) * length // LENGTH)
        engine = Engine(file, batch_size=batch, input_shapes=[[batch, length]])
        inputs = _sentences(engine, np.ones((batch, length), np.int64))
        assert len(_starts(engine, inputs)) == batch // items
        found.append(engine.run(inputs))
    for others in found[1:]:
        assert all(np.array_equal(mine, its) for mine, its in zip(others, found[0], strict=True))


@pytest.mark.parametrize("streams", [1, 2])
def test_requests_of_several_threads(streams: int, cut: Any) -> None:
    cut(4 * (6 + 4) * 5)
    engine = Engine(perceptron(), batch_size=40, num_streams=streams, scheduler="multi_stream")
    feeds = [np.random.default_rng(seed).standard_normal((40, 6)).astype(np.float32) for seed in range(4)]
    alone = [engine.run([x])[0] for x in feeds]
    found: dict[int, list[Array]] = {}

    def ask(seed: int) -> None:
        found[seed] = [engine.run([feeds[seed]])[0] for _ in range(20)]

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(y, alone[seed]) for seed in range(4) for y in found[seed])


@pytest.mark.parametrize("cores", [1, 2])
def test_cores_change_no_bit(cores: int, cut: Any) -> None:
    cut(4 * (6 + 4) * 5)
    x = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    engines = [Engine(perceptron(), batch_size=40, num_cores=count) for count in (1, cores)]
    assert [_starts(engine, [x]) for engine in engines] == [tuple(range(0, 40, 5))] * 2
    assert np.array_equal(engines[0].run([x])[0], engines[1].run([x])[0])


def test_an_id_out_of_range_is_told_by_its_place_in_the_request(cut: Any) -> None:
    cut(2 * (8 * 3 + 2 * 4 * 16 * 3))
    engine = Engine(lookup(), batch_size=8, input_shapes=[[8, 3]])
    ids = np.ones((8, 3), np.int64)
    assert len(_starts(engine, [ids])) == 4
    ids[5, 1] = 1000
    with pytest.raises(InputError, match="position 16 "):
        engine.run([ids])
    ids[5, 1] = 1
    assert engine.run([ids])[0].shape == (8, 3, 16)


def test_a_request_can_be_cancelled(cut: Any) -> None:
    cut(1)
    engine = Engine(perceptron(), batch_size=4)
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(RequestCancelledError):
        engine.run([np.zeros((4, 6), np.float32)], cancelled=cancelled)


def _with_a_batch_of_its_own(batch: int) -> onnx.ModelProto:
    """The sum over items is in every one of them."""
    model = perceptron(batch)
    del model.graph.node[-1]
    axes = onnx.numpy_helper.from_array(np.asarray([0]), "axes")
    model.graph.initializer.append(axes)
    model.graph.node.append(onnx.helper.make_node("ReduceMean", ["s"], ["m"], axes=[0], keepdims=1))
    model.graph.node.append(onnx.helper.make_node("Sub", ["s", "m"], ["y"]))
    return model


def test_models_that_look_across_a_batch_compute_it_whole(cut: Any) -> None:
    cut(1)
    x = np.random.default_rng(0).standard_normal((6, 6)).astype(np.float32)
    engine = Engine(_with_a_batch_of_its_own(6), batch_size=6)
    assert _starts(engine, [x]) == (0,)
    np.testing.assert_allclose(engine.run([x])[0].mean(axis=0), 0, atol=1e-6)


def test_no_batch_is_cut_where_the_user_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = saved(perceptron(), tmp_path)
    x = np.zeros((1 << 18, 6), np.float32)
    monkeypatch.setattr("engine.compiler.l2_bytes", lambda: 1 << 14)
    assert len(_starts(Engine(file, batch_size=len(x)), [x])) > 8
    monkeypatch.setenv("ENGINE_CUT_BATCHES", "0")
    assert _starts(Engine(file, batch_size=len(x)), [x]) == (0,)


def test_parts_are_told_and_timed(cut: Any) -> None:
    cut(4 * (6 + 4) * 4)
    engine = Engine(perceptron(), batch_size=8)
    assert "a batch of 8 is computed in 2 parts of 4, one after the other" in str(explain(engine))
    found = profile(engine, [np.zeros((8, 6), np.float32)], rounds=2, warmup=0)
    assert found.batch_size == 8
    (operations,) = [step.operations for step in found.steps if step.operations is not None]
    assert operations == 2 * 8 * 6 * 4
