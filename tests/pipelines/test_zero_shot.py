"""Zero-shot classification: pairs of text and hypothesis, scores against plain NumPy, and who may name labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in_engine import StandInEngine

import pipelines
from engine import ModelError
from pipelines import ENGINES, Pipeline

FOLDER = Path(pipelines.__file__).parent / "models" / "sentiment-minilm-l3-pruned80-int8"
LABELS = ["sport", "politics", "the weather"]
CONFIG = {"id2label": {"0": "CONTRADICTION", "1": "neutral", "2": "entailment"}}


class Entailment(StandInEngine):
    """Three classes."""

    labels = 3


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "engine", Entailment)


def _create(**arguments: Any) -> Any:
    return Pipeline.create("zero-shot-text-classification", FOLDER, **arguments)


def _logits(pipeline: Any, text: str, labels: list[str], template: str = "This text is about {}") -> Any:
    pairs = [(text, template.format(label)) for label in labels]
    return pipeline.engine.run(pipeline.to_arrays(pairs))[0].astype(np.float64)


@pytest.mark.parametrize(("config", "yes", "no"), [({}, 0, 2), (CONFIG, 2, 0)])
@pytest.mark.parametrize("several", [False, True])
def test_scores_are_those_of_their_formula(config: dict[str, Any], yes: int, no: int, several: bool) -> None:
    classify = _create(config=config, batch_size=None)
    found = classify("A match in the rain.", labels=LABELS, multi_class=several)
    logits = _logits(classify, "A match in the rain.", LABELS)
    powers = np.exp(logits)
    scores = powers[:, yes] / (powers[:, yes] + powers[:, no] if several else powers[:, yes].sum())
    assert dict(zip(found.labels, found.scores, strict=True)) == pytest.approx(
        dict(zip(LABELS, scores, strict=True))
    )
    assert found.scores == sorted(found.scores, reverse=True)
    assert found.sequences == "A match in the rain."


def test_a_list_gives_nested_answers() -> None:
    classify = _create(labels=LABELS)
    found = classify(["one", "two"])
    assert [len(row) for row in found.labels] == [3, 3]
    assert found.labels[0] == classify("one").labels
    assert classify("one", "two") == found
    assert classify([]).labels == []


def test_labels_may_be_one_string_with_commas() -> None:
    assert _create(labels="sport, politics,the weather")("one") == _create(labels=LABELS)("one")
    assert _create()("one", labels="sport, politics") == _create()("one", labels=["sport", "politics"])


def test_a_request_overrules_the_template() -> None:
    classify = _create(labels=LABELS, model_config={"hypothesis_template": "About {}."})
    found = classify("one", hypothesis_template="It is {}!")
    logits = _logits(classify, "one", LABELS, "It is {}!")[:, 0]
    assert found.labels[0] == LABELS[int(logits.argmax())]


def test_long_texts_are_cut_and_hypotheses_are_not() -> None:
    classify = _create(sequence_length=32)
    arrays, _ = classify.process_inputs(classify.parse_inputs("word " * 300, labels=["sport"]))
    rows = dict(zip(classify.engine.input_names, arrays, strict=True))
    hypothesis = classify.exact_encoder().pieces("This text is about sport").ids
    assert rows["input_ids"].shape == (1, 32)
    assert rows["input_ids"][0, -len(hypothesis) - 1 : -1].tolist() == hypothesis


@pytest.mark.parametrize(
    ("arguments", "request_", "message"),
    [
        ({}, {}, "Give labels"),
        ({"labels": LABELS}, {"labels": LABELS}, "not to both"),
        ({}, {"labels": []}, "empty"),
        ({}, {"labels": LABELS, "hypothesis_template": "without"}, "needs {}"),
    ],
)
def test_requests_without_sense_are_refused(arguments: Any, request_: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _create(**arguments)("one", **request_)


def test_a_model_without_such_classes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "engine", StandInEngine)
    with pytest.raises(ModelError, match="has 2 classes"):
        _create()("one", labels=LABELS)


@pytest.mark.parametrize(
    "bad",
    [
        {"model_scheme": "snli"},
        {"model_config": {"entailment_index": 1, "contradiction_index": 1}},
        {"model_config": {"entailment_index": 3}},
        {"model_config": {"hypothesis_template": "without"}},
    ],
)
def test_schemes_without_sense_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"mnli|both 1|less than or equal to 2|needs \{\}"):
        _create(**bad)
