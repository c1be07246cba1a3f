"""A model that was made for another task, and a task that is no name: one sentence, whatever they are."""

from __future__ import annotations

from typing import Any

import pytest

from engine import ModelError
from pipelines import Pipeline

ANOTHERS = [
    ("ner", "sentiment-minilm-l3-pruned80-int8", {"inputs": "a"}),
    ("sentiment-analysis", "ner-minilm-l6-int8", {"sequences": "a"}),
    ("question-answering", "ner-minilm-l6-int8", {"question": "a", "context": "b"}),
    ("image-classification", "ner-minilm-l6-int8", {"images": "a"}),
    ("object-detection", "garments-cnn-int8", {"images": [[0] * 28] * 28}),
]


@pytest.mark.parametrize(
    ("task", "model", "request_"), ANOTHERS, ids=[f"{row[0]} by {row[1]}" for row in ANOTHERS]
)
def test_a_model_of_another_task_is_named(task: str, model: str, request_: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as error:
        Pipeline.create(task, f"embedded:{model}")(**request_)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("task", [None, 5, ["qa"]])
def test_a_task_is_a_name(task: Any) -> None:
    with pytest.raises(TypeError, match="task must be a name"):
        Pipeline.create(task)
