"""Token classification: forms of requests and answers, words that are split already, and offsets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from token_engine import TokenEngine

import pipelines
from engine import OptionError
from pipelines import ENGINES, Pipeline

# Any folder of a BERT-like model has the tokenizer; the tags are the test's.
FOLDER = Path(pipelines.__file__).parent / "models" / "sentiment-minilm-l3-pruned80-int8"
TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
CONFIG = {"id2label": {str(index): tag for index, tag in enumerate(TAGS)}}
TEXT = "Ada Lovelace's engine, in São Paulo, hummed quietly 😀"


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "engine", TokenEngine)


def _create(**arguments: Any) -> Any:
    return Pipeline.create("ner", FOLDER, config=CONFIG, **arguments)


def test_one_text_and_a_list_of_it_agree() -> None:
    for strategy in ("none", "simple", "first", "average", "max"):
        find = _create(aggregation_strategy=strategy)
        assert find(TEXT).predictions == find([TEXT]).predictions == find(inputs=TEXT).predictions
        assert find(TEXT, "other").predictions == [find(TEXT)[0], find("other")[0]]


def test_offsets_point_into_the_text() -> None:
    find = _create(aggregation_strategy="none", ignore_labels=[])
    found = find(TEXT)[0]
    assert [entity.index for entity in found] == list(range(1, len(found) + 1))
    for entity in found:
        plain = entity.word.removeprefix("##")
        assert TEXT[entity.start : entity.end].lower().replace("ã", "a") in (plain, "😀")
        assert entity.entity in TAGS
        assert not entity.is_grouped


def test_groups_have_no_prefix_no_index_and_the_mean_score() -> None:
    single = _create(aggregation_strategy="none", ignore_labels=[])(TEXT)[0]
    for group in _create(aggregation_strategy="simple", ignore_labels=[])(TEXT)[0]:
        members = [e for e in single if group.start <= e.start and e.end <= group.end]
        assert group.entity == members[0].entity.split("-")[-1]
        assert group.score == pytest.approx(sum(e.score for e in members) / len(members))
        assert group.is_grouped
        assert group.index is None


def test_words_are_whole_with_word_strategies() -> None:
    for strategy in ("first", "average", "max"):
        for group in _create(aggregation_strategy=strategy, ignore_labels=[])(
            "unbelievableness incontrovertibly"
        )[0]:
            assert "##" not in group.word
            assert group.start in (0, 17)
            assert group.end in (16, 33)


def test_labels_that_are_ignored_are_left_out_after_grouping() -> None:
    everything = _create(aggregation_strategy="simple", ignore_labels=[])(TEXT)[0]
    some = _create(aggregation_strategy="simple", ignore_labels=["O", "PER"])(TEXT)[0]
    assert some == [entity for entity in everything if entity.entity not in ("O", "PER")]
    assert _create()(TEXT)[0] == [e for e in _create(ignore_labels=[])(TEXT)[0] if e.entity != "O"]


def test_words_of_one_text_are_reported_once_each() -> None:
    find = _create(ignore_labels=[])
    words = ["Unbelievableness", "of", "São", "Paulo"]
    found = find(words, is_split_into_words=True)[0]
    joined = " ".join(words)
    assert [joined[e.start : e.end] for e in found][1:] == ["of", "São", "Paulo"]
    assert len(found) == len(words)
    with pytest.raises(ValueError, match="list"):
        find("one text", is_split_into_words=True)


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_text_has_no_entities(empty: str) -> None:
    assert _create(ignore_labels=[])(empty).predictions == [[]]
    assert _create()([]).predictions == []


def test_texts_are_cut_at_the_sequence_length() -> None:
    find = _create(sequence_length=16, ignore_labels=[])
    assert len(find("word " * 100)[0]) == 14
    assert find.engine.calls[-1]["input_ids"].shape == (1, 16)


@pytest.mark.parametrize("length", [64, [16, 64], None])
def test_answers_do_not_depend_on_padding(length: Any) -> None:
    texts = [TEXT, "short", "", "In London and Paris"]
    expected = _create(sequence_length=128, ignore_labels=[])(texts)
    assert _create(sequence_length=length, batch_size=None, ignore_labels=[])(texts) == expected


@pytest.mark.parametrize("name", [" Simple ", "NONE", "Max"])
def test_strategies_are_found_in_any_case(name: str) -> None:
    assert _create(aggregation_strategy=name).aggregation_strategy == name.strip().lower()


def test_an_unknown_strategy_names_the_nearest() -> None:
    with pytest.raises(OptionError, match='did you mean "average"'):
        _create(aggregation_strategy="avarage")


def test_requests_and_answers_survive_json() -> None:
    find = _create()
    request = find.input_schema.model_validate_json('{"inputs": ["a", "b"]}')
    answer = find(request)
    assert find.output_schema.model_validate_json(answer.model_dump_json()) == answer
    with pytest.raises(ValueError, match="inputs"):
        find(inputs=3)
    with pytest.raises(ValueError, match="texts"):
        find.input_schema.model_validate({"inputs": "a", "texts": "b"})
