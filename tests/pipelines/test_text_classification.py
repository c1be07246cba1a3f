"""Task text-classification: forms of input, nesting of output, scores, batches; with a stand-in engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from stand_in_engine import ManyLabels, OneLabel, StandInEngine

from engine import ModelError, ModelNotFoundError, OptionError
from pipelines import ENGINES, Pipeline, sentiment_analysis_pipeline, text_classification_pipeline

TEXTS = ["A delight.", "A waste of time.", "It rained.", "Fast and easy to use.", "Never again.", "Good."]


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "two", StandInEngine)
    monkeypatch.setitem(ENGINES, "five", ManyLabels)
    monkeypatch.setitem(ENGINES, "one", OneLabel)


def _create(engine_type: str = "two", **arguments: Any) -> Any:
    return Pipeline.create("sentiment-analysis", engine_type=engine_type, **arguments)


@pytest.mark.parametrize(
    ("call", "rows"),
    [
        (("a",), 1),
        (("a", "b"), 2),
        (("a", "b", "c"), 3),
        ((["a", "b"],), 2),
        (([["a", "b"]],), 1),
        (([["a"], ["b", "c"]],), 2),
        (([],), 0),
    ],
)
def test_every_form_of_input_gives_one_flat_entry_per_text(call: tuple[Any, ...], rows: int) -> None:
    answer = _create()(*call)
    assert len(answer.labels) == len(answer.scores) == rows
    assert all(isinstance(label, str) for label in answer.labels)


def test_keywords_schema_objects_and_positional_texts_agree() -> None:
    pipeline = _create()
    by_position = pipeline(TEXTS)
    assert pipeline(sequences=TEXTS) == by_position
    assert pipeline(pipeline.input_schema(sequences=TEXTS)) == by_position
    assert isinstance(by_position, pipeline.output_schema)


def test_a_list_of_one_text_is_that_text() -> None:
    pipeline = _create()
    assert pipeline([["a"], ["b"]]) == pipeline(["a", "b"])


def test_a_pair_is_not_its_texts_joined() -> None:
    pipeline = _create()
    rows = dict(
        zip(pipeline.engine.input_names, pipeline.to_arrays([("one", "two"), "one two"]), strict=True)
    )
    assert rows["token_type_ids"][0].max() == 1
    assert rows["token_type_ids"][1].max() == 0
    assert (rows["input_ids"][0] != rows["input_ids"][1]).any()


def test_the_printed_form_is_labels_and_scores() -> None:
    answer = _create()("a")
    assert str(answer) == f"labels=['{answer.labels[0]}'] scores=[{answer.scores[0]!r}]"
    assert json.loads(answer.model_dump_json()) == {"labels": answer.labels, "scores": answer.scores}


@pytest.mark.parametrize("top_k", [2, 3, 5, 9])
def test_several_labels_come_as_ranked_lists(top_k: int) -> None:
    answer = _create("five", top_k=top_k)("a", "b")
    assert [len(row) for row in answer.scores] == [min(top_k, 5)] * 2
    assert all(row == sorted(row, reverse=True) for row in answer.scores)
    assert all(len(set(row)) == len(row) for row in answer.labels)


def test_scores_are_a_softmax_over_all_labels() -> None:
    assert sum(_create("five", top_k=5)("a").scores[0]) == pytest.approx(1.0)


def test_a_multi_label_model_scores_each_label_alone() -> None:
    pipeline = _create("five", top_k=5, config={"problem_type": "multi_label_classification"})
    logits = pipeline.engine.run(pipeline.to_arrays(["a"]))[0]
    expected = sorted((1 / (1 + np.exp(-logits[0].astype(np.float64)))).tolist(), reverse=True)
    assert pipeline("a").scores[0] == pytest.approx(expected)


def test_a_single_logit_is_a_sigmoid() -> None:
    pipeline = _create("one", config={"id2label": {"0": "relevance"}})
    logit = float(pipeline.engine.run(pipeline.to_arrays(["a"]))[0][0, 0])
    answer = pipeline("a")
    assert answer.labels == ["relevance"]
    assert answer.scores == pytest.approx([1 / (1 + np.exp(-logit))])


def test_labels_without_names_are_numbered() -> None:
    assert set(_create("five", top_k=5, config={})("a").labels[0]) == {f"LABEL_{n}" for n in range(5)}


def test_return_all_scores_warns_and_means_every_label() -> None:
    with pytest.warns(DeprecationWarning, match="top_k=2"):
        pipeline = _create(return_all_scores=True)
    assert pipeline.top_k == 2
    assert len(pipeline("a").labels[0]) == 2


@pytest.mark.parametrize("top_k", [0, -1, 1.5, True, "2"])
def test_a_top_k_below_one_is_refused(top_k: Any) -> None:
    with pytest.raises(OptionError, match="top_k"):
        _create(top_k=top_k)


def test_a_top_k_that_contradicts_all_scores_is_refused() -> None:
    with pytest.raises(ValueError, match="contradicts top_k=1"):
        _create(top_k=1, return_all_scores=True)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 6, 7, None])
@pytest.mark.parametrize("executor", [None, 3])
def test_answers_do_not_depend_on_the_batch_size(batch_size: int | None, executor: int | None) -> None:
    alone = [_create()(text) for text in TEXTS]
    answer = _create(batch_size=batch_size, executor=executor)(TEXTS)
    assert answer.labels == [one.labels[0] for one in alone]
    assert answer.scores == [one.scores[0] for one in alone]


@pytest.mark.parametrize(
    ("batch_size", "calls"),
    [(1, [(1, 128)] * 6), (4, [(4, 128)] * 2), (None, [(4, 128), (2, 128)])],
)
def test_the_engine_sees_whole_batches(batch_size: int | None, calls: list[tuple[int, int]]) -> None:
    pipeline = _create(batch_size=batch_size)
    pipeline(TEXTS)
    assert pipeline.engine.calls == calls
    assert pipeline.batch_size == batch_size


@pytest.mark.parametrize(("arguments", "length"), [({}, 128), ({"sequence_length": 16}, 16)])
def test_rows_are_cut_and_padded_to_the_sequence_length(arguments: dict[str, Any], length: int) -> None:
    pipeline = _create(**arguments)
    assert pipeline.engine_args.input_shapes == [[1, length]]
    for array in pipeline.to_arrays(["short", "long " * 600]):
        assert array.shape == (2, length)
    pipeline("short", "long " * 600)
    assert pipeline.engine.calls == [(1, length)] * 2


def test_input_shapes_overrule_the_sequence_length() -> None:
    pipeline = _create(input_shapes=[[1, 32]])
    assert pipeline.sequence_length == 32
    assert pipeline.to_arrays(["a"])[0].shape == (1, 32)


@pytest.mark.parametrize("length", [0, -1, 2.5, "128", [16, 0], [], True])
def test_a_sequence_length_that_is_no_whole_number_is_refused(length: Any) -> None:
    with pytest.raises(OptionError, match="sequence_length"):
        _create(sequence_length=length)


@pytest.mark.parametrize(("length", "advice"), [(513, "at most 512"), (3, "at least 4")])
def test_a_sequence_length_out_of_the_models_range_is_refused(length: int, advice: str) -> None:
    with pytest.raises(OptionError, match=advice):
        _create(sequence_length=length)


@pytest.mark.parametrize(
    "call",
    [
        {"sequences": 7},
        {"sequences": [["a", "b", "c"]]},
        {"sequences": [["a"], "b"]},
        {"sequences": [[]]},
        {"sequence": "a"},
        {"sequences": "a", "top_k": 2},
        {"engine_inputs": []},
        {},
    ],
)
def test_requests_that_do_not_fit_are_value_errors(call: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        _create()(**call)


def test_fields_of_a_wrong_type_are_validation_errors() -> None:
    with pytest.raises(ValidationError):
        _create()(sequences={"a": 1})


def test_positional_and_keyword_input_together_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        _create()("a", sequences="b")


def test_a_model_input_that_the_tokenizer_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Images(StandInEngine):
        def __init__(self, arguments: Any) -> None:
            super().__init__(arguments)
            self.input_names = ["input_ids", "pixel_values"]

    monkeypatch.setitem(ENGINES, "images", Images)
    with pytest.raises(ModelError, match=r"pixel_values.*attention_mask.*nothing for \['pixel_values'\]"):
        _create("images")


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ModelNotFoundError, match="No usable tokenizer"):
        _create(model_path=tmp_path)


def test_shorthands_create_the_same_task() -> None:
    for shorthand in (sentiment_analysis_pipeline, text_classification_pipeline):
        pipeline = shorthand(engine_type="two", batch_size=3)
        assert (pipeline.task, pipeline.batch_size) == ("text_classification", 3)
