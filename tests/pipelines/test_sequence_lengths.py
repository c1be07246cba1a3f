"""Row lengths: buckets take the smallest that fits, open lengths pad nothing, and answers do not depend on either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from stand_in_engine import StandInEngine

from engine import Engine, OptionError
from pipelines import ENGINES, Pipeline
from pipelines.buckets import BucketedEngine, skips_padding
from pipelines.lengths import Lengths

TASK = "sentiment-analysis"


class OpenStandIn(StandInEngine):
    """Takes rows of any length, as a file with open axes does."""

    def __init__(self, arguments: Any) -> None:
        super().__init__(arguments)
        if not arguments.input_shapes:
            self.input_shapes = [[arguments.batch_size or -1, -1]] * 3


@pytest.fixture
def _open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "engine", OpenStandIn)


def _words(count: int) -> str:
    # Two tokens of a row are special.
    return " ".join(["word"] * (count - 2))


@pytest.mark.parametrize(
    ("tokens", "length"),
    [(2, 16), (3, 16), (15, 16), (16, 16), (17, 128), (128, 128), (129, 128), (600, 128)],
)
@pytest.mark.usefixtures("_open")
def test_a_request_goes_to_the_smallest_bucket_that_holds_it(tokens: int, length: int) -> None:
    classify: Any = Pipeline.create(TASK, sequence_length=[128, 16])
    assert classify.buckets == (16, 128)
    assert classify.sequence_length == 128
    classify.engine.calls.clear()
    classify(_words(tokens))
    assert classify.engine.calls == [(1, length)]


@pytest.mark.usefixtures("_open")
def test_all_rows_of_a_request_go_to_one_bucket() -> None:
    classify: Any = Pipeline.create(TASK, sequence_length=[16, 32, 64], batch_size=2)
    assert classify.engine.calls == [(2, 16), (2, 32), (2, 64)]
    classify.engine.calls.clear()
    classify(_words(3), _words(20), _words(4))
    assert classify.engine.calls == [(2, 32), (2, 32)]


@pytest.mark.usefixtures("_open")
def test_without_a_length_rows_are_as_long_as_their_text_and_batches_of_one_length() -> None:
    classify: Any = Pipeline.create(TASK, sequence_length=None, batch_size=None)
    texts = [_words(n) for n in (5, 9, 5, 2, 9, 5, 600)]
    classify.engine.calls.clear()
    answers = classify(texts)
    assert sorted(classify.engine.calls) == [(1, 2), (1, 5), (1, 512), (2, 5), (2, 9)]
    assert answers.scores == [classify(text).scores[0] for text in texts]


@pytest.mark.parametrize("length", [[16, 48, 128], None, [64]])
@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_answers_do_not_depend_on_the_length_of_rows(length: Any, batch_size: int | None) -> None:
    texts = ["A delight.", "", "Not bad at all, " * 6, "A waste of time, dull and loud.", "x"]
    fixed: Any = Pipeline.create(TASK, sequence_length=128)
    other: Any = Pipeline.create(TASK, sequence_length=length, batch_size=batch_size)
    left, right = fixed(texts), other(texts)
    assert left.labels == right.labels
    np.testing.assert_allclose(left.scores, right.scores, atol=2e-5)


def test_buckets_share_one_engine_and_its_weights() -> None:
    classify = Pipeline.create(TASK, sequence_length=[16, 64])
    assert isinstance(classify.engine, Engine)
    assert [tuple(shape) for shape in classify.engine.input_shapes] == [(1, -1)] * 3


def _fixed_model(folder: Path) -> Path:
    """Logits [1, 2] from ids of 32 tokens and no other number."""
    weights = np.random.default_rng(0).normal(size=(32, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["numbers", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fixed",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    return folder


def test_a_file_of_one_length_takes_no_open_rows(tmp_path: Path) -> None:
    embedded = Pipeline.create(TASK, engine_type="engine").deployment.folder
    with pytest.raises(OptionError, match="as long as their text"):
        Pipeline.create(TASK, _fixed_model(tmp_path), tokenizer=embedded, sequence_length=None)


def test_a_file_of_one_length_has_an_engine_per_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "engine", StandInEngine)
    classify: Any = Pipeline.create(TASK, sequence_length=[16, 64], batch_size=2)
    engine: Any = classify.engine
    assert isinstance(engine, BucketedEngine)
    assert classify.engine.input_shapes == [(2, -1)] * 3
    assert {n: e.input_shapes[0] for n, e in classify.engine.engines.items()} == {16: [2, 16], 64: [2, 64]}
    classify(_words(17))
    longest: Any = engine.engines[64]
    assert longest.calls == [(2, 64)]


def test_buckets_and_shapes_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        Pipeline.create(TASK, sequence_length=[16, 64], input_shapes=[[1, 16]])


@pytest.mark.parametrize("bad", [0, -1, 2.5, "128", True, [], [16, 0], [16, "64"], [True]])
def test_lengths_are_whole_numbers(bad: Any) -> None:
    with pytest.raises(OptionError, match="sequence_length"):
        Lengths.read(bad, 512)


@given(st.lists(st.integers(1, 512), min_size=1), st.integers(0, 600))
def test_the_fitting_length_is_the_smallest_that_holds(buckets: list[int], tokens: int) -> None:
    found = Lengths.read(buckets, 512).fitting(tokens)
    assert found in buckets
    assert found == max(buckets) if tokens > max(buckets) else found >= tokens
    assert not any(tokens <= other < found for other in buckets)


def test_lengths_end_at_the_models_positions() -> None:
    with pytest.raises(OptionError, match="512 positions"):
        Lengths.read([16, 513], 512)
    assert Lengths.read(None, 300).fitting(1000) == 300


@pytest.mark.parametrize("task", [TASK, "ner"])
@pytest.mark.parametrize(("batch_size", "copies"), [(None, 1), (None, 8), (3, 1)])
def test_grouped_rows_give_what_exact_rows_give(task: str, batch_size: int | None, copies: int) -> None:
    """Text by text at its own length, which nothing pads, and all together."""
    texts = ["x", "Ada lived in London. " * 2, "Not bad at all, " * 6, "Rome is old and Paris is not. " * 9]
    texts += [f"{text} again" for text in texts[:3]] * (copies - 1) + ["long " * 150]
    rounded: Any = Pipeline.create(task, sequence_length=None, batch_size=batch_size)
    assert skips_padding(rounded.engine)
    arrays = rounded.to_arrays(texts)
    mask = dict(zip(rounded.engine.input_names, arrays, strict=True))["attention_mask"]
    (outputs,) = rounded.run_batches(arrays)
    plain = Engine(rounded.onnx_file_path, batch_size=None, skip_padding=False)
    for place, count in enumerate(mask.sum(axis=1)):
        (alone,) = plain.run([np.ascontiguousarray(array[place : place + 1, :count]) for array in arrays])
        if outputs.ndim == 3:
            assert not outputs[place, count:].any()
            np.testing.assert_allclose(outputs[place, :count], alone[0], atol=1e-4)
        else:
            np.testing.assert_allclose(outputs[place], alone[0], atol=1e-4)
