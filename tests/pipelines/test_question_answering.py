"""Question answering: windows, spans against plain loops, null answers, and the forms of requests."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_in_engine import StandInEngine
from token_engine import SpanEngine

import pipelines
from engine import OptionError
from pipelines import ENGINES, Pipeline
from pipelines.spans import best_spans, likeliest_span, windows

FOLDER = Path(pipelines.__file__).parent / "models" / "sentiment-minilm-l3-pruned80-int8"
CONTEXT = "Mark is batman, and he lives in Zürich 😀 with ירושלים on his mind. " * 6


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "engine", SpanEngine)


def _create(**arguments: Any) -> Any:
    return Pipeline.create("question-answering", FOLDER, **arguments)


@given(st.integers(0, 2000), st.integers(1, 200), st.integers(0, 300))
def test_windows_cover_the_passage_and_share_the_stride(tokens: int, room: int, stride: int) -> None:
    found = windows(tokens, room, stride)
    assert found[0][0] == 0
    assert found[-1][1] == tokens
    assert all(0 <= end - begin <= room for begin, end in found)
    for (_, end), (begin, later) in pairwise(found):
        assert end - begin == min(stride, room - 1)
        assert later > end


@given(st.integers(0, 30), st.integers(1, 8), st.integers(1, 30), st.integers(0, 999))
def test_spans_equal_those_of_plain_loops(tokens: int, longest: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, end = rng.normal(size=(2, tokens)).astype(np.float32)
    starts, ends = (set(np.argsort(-row)[:count].tolist()) for row in (start, end))
    pairs = [
        (float(start[i]) + float(end[j]), i, j)
        for i in range(tokens)
        for j in range(i, min(i + longest, tokens))
        if i in starts and j in ends
    ]
    found = best_spans(start, end, longest, count)
    expected = sorted(pairs, reverse=True)[:count]
    assert [(span.first, span.last) for span in found] == [(i, j) for _, i, j in expected]
    likeliest = likeliest_span(np.exp(start), np.exp(end), longest)
    every = [
        (float(start[i]) + float(end[j]), i, j)
        for i in range(tokens)
        for j in range(i, min(i + longest, tokens))
    ]
    assert (likeliest is None) == (not every)
    if likeliest is not None:
        assert (likeliest.first, likeliest.last) == max(every)[1:]


@pytest.mark.parametrize(
    "arguments", [{}, {"sequence_length": 32, "doc_stride": 500}, {"sequence_length": None}]
)
@pytest.mark.parametrize("score", ["sum", "probability"])
def test_an_answer_is_a_part_of_its_passage(arguments: dict[str, Any], score: str) -> None:
    answer = _create(score=score, **arguments)(question="Who is Mark?", context=CONTEXT)
    assert CONTEXT[answer.start : answer.end] == answer.answer
    assert answer.answer
    assert list(answer.model_dump()) == ["score", "answer", "start", "end"]


def test_windows_are_rows_of_one_batch() -> None:
    one, many = (
        _create(sequence_length=40, doc_stride=8),
        _create(sequence_length=40, doc_stride=8, batch_size=None),
    )
    assert one(question="Who?", context=CONTEXT) == many(question="Who?", context=CONTEXT)
    rows = np.concatenate([call["input_ids"] for call in one.engine.calls])
    np.testing.assert_array_equal(rows, np.concatenate([call["input_ids"] for call in many.engine.calls]))
    assert rows.shape[1] == 40
    types = one.engine.calls[0]["token_type_ids"][0]
    assert types[:4].tolist() == [0, 0, 0, 0]
    assert types[10] == 1


def test_the_best_sum_over_all_windows_wins() -> None:
    ask = _create(sequence_length=40, doc_stride=8, n_best_size=100)
    answer = ask(question="Who?", context=CONTEXT)
    best = -np.inf
    for call in list(ask.engine.calls):
        starts, ends = SpanEngine.run(ask.engine, list(call.values()))
        inside = np.flatnonzero((call["token_type_ids"][0] == 1) & (call["attention_mask"][0] == 1))[:-1]
        for i in inside:
            for j in inside[(inside >= i) & (inside < i + 15)]:
                best = max(best, float(starts[0, i]) + float(ends[0, j]))
    assert answer.score == pytest.approx(best, abs=1e-5)


def test_a_long_question_leaves_the_passage_its_place() -> None:
    ask = _create(sequence_length=32, max_question_length=64)
    answer = ask(question="why " * 200, context="because of it")
    assert answer.answer
    ids = ask.engine.calls[0]["input_ids"][0]
    assert int((ask.engine.calls[0]["token_type_ids"][0] == 1).sum()) >= 4
    assert len(ids) == 32


def test_the_number_of_windows_can_be_limited() -> None:
    ask = _create(sequence_length=32, doc_stride=4, num_spans=2)
    ask(question="Who?", context=CONTEXT)
    assert len(ask.engine.calls) == 2


def test_no_answer_may_be_the_best() -> None:
    asked = {"question": "Who?", "context": "x"}
    plain, null = _create()(**asked), _create(version_2_with_negative=True)(**asked)
    assert plain.answer == "x"
    assert null.score >= plain.score
    if null.score > plain.score:
        assert (null.answer, null.start, null.end) == ("", 0, 0)


@pytest.mark.parametrize("context", ["", "  "])
@pytest.mark.parametrize("score", ["sum", "probability"])
def test_an_empty_passage_has_an_empty_answer(context: str, score: str) -> None:
    answer = _create(score=score)(question="Who?", context=context)
    assert (answer.answer, answer.start, answer.end) == ("", 0, 0)
    assert np.isfinite(answer.score)


def test_predictions_are_appended_to_files(tmp_path: Path) -> None:
    ask = _create(output_dir=tmp_path, n_best_size=3)
    ask(question="Who?", context=CONTEXT, id="first")
    answer = ask(question="Who?", context=CONTEXT)
    lines = [json.loads(line) for line in (tmp_path / "predictions.json").read_text("utf-8").splitlines()]
    assert lines == [{"first": answer.answer}, {"Who?": answer.answer}]
    best = json.loads((tmp_path / "nbest_predictions.json").read_text("utf-8").splitlines()[0])["first"]
    assert [entry["score"] for entry in best] == sorted((e["score"] for e in best), reverse=True)
    assert (tmp_path / "null_odds.json").is_file()
    with pytest.raises(OptionError, match="not a folder"):
        _create(output_dir=tmp_path / "missing")


@pytest.mark.parametrize(
    "bad",
    [{"doc_stride": -1}, {"n_best_size": 0}, {"max_answer_length": 0}, {"num_spans": 0}, {"score": "sums"}],
)
def test_numbers_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(bad)) if "score" not in bad else 'did you mean "sum"'):
        _create(**bad)


def test_requests_are_keywords_or_the_schema() -> None:
    ask = _create()
    request = ask.input_schema(question="Who?", context="Mark")
    assert ask(request) == ask(question="Who?", context="Mark")
    with pytest.raises(ValueError, match="question, context, id"):
        ask("Who?", "Mark")
    with pytest.raises(ValueError, match="context"):
        ask(question="Who?")


def test_a_model_without_two_outputs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "engine", StandInEngine)
    with pytest.raises(ValueError, match="two outputs"):
        _create()(question="Who?", context="Mark")
