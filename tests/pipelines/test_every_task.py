"""What holds for every built-in task: schemas that survive JSON, configs, timers, and many requests in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_engine import image_engine
from stand_in_engine import ManyLabels, StandInEngine
from token_engine import SpanEngine, TokenEngine

import pipelines
from pipelines import ENGINES, Pipeline

ROOT = Path(pipelines.__file__).parent / "models"
TEXT, IMAGE = ROOT / "sentiment-minilm-l3-pruned80-int8", ROOT / "garments-cnn-int8"
PIXELS = np.arange(28 * 28, dtype=np.uint8).reshape(28, 28).tolist()
DETECTED = np.tile([[14, 14, 9, 9, 0.9, 0.9, 0.1]], (20, 1)).astype(np.float32)

# task, folder, engine, arguments, request
Case = tuple[str, Path, Callable[[Any], Any], dict[str, Any], dict[str, Any]]
CASES: list[Case] = [
    ("text_classification", TEXT, StandInEngine, {"top_k": 2}, {"sequences": ["a", "b"]}),
    ("token_classification", TEXT, TokenEngine, {"aggregation_strategy": "max"}, {"inputs": "in Paris"}),
    ("question_answering", TEXT, SpanEngine, {"doc_stride": 8}, {"question": "who?", "context": "it is Ada"}),
    ("zero_shot_text_classification", TEXT, ManyLabels, {"labels": ["x", "y"]}, {"sequences": "a"}),
    ("embedding_extraction", TEXT, TokenEngine, {"pooling": "max"}, {"inputs": ["a", "b"]}),
    ("image_classification", IMAGE, image_engine((1, 28, 28), np.eye(10, dtype=np.float32)[3]), {"top_k": 3},
     {"images": PIXELS}),
    ("object_detection", IMAGE, image_engine((1, 28, 28), DETECTED), {"letterbox": True}, {"images": [PIXELS]}),
    ("image_segmentation", IMAGE, image_engine((1, 28, 28), np.ones((3, 7, 7), np.float32)), {}, {"images": PIXELS}),
]  # fmt: skip


@pytest.fixture(params=CASES, ids=[case[0] for case in CASES])
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    found: Case = request.param
    monkeypatch.setitem(ENGINES, "engine", found[2])
    return found


def test_requests_and_answers_survive_json(case: Case) -> None:
    task, folder, _, arguments, request = case
    pipeline = Pipeline.create(task, folder, **arguments)
    answer = pipeline(**request)
    assert isinstance(answer, pipeline.output_schema)
    again = pipeline.input_schema.model_validate_json(pipeline.input_schema(**request).model_dump_json())
    assert pipeline(again).model_dump_json() == answer.model_dump_json()
    assert (
        pipeline.output_schema.model_validate_json(answer.model_dump_json()).model_dump_json()
        == answer.model_dump_json()
    )


def test_a_config_makes_the_same_task(case: Case) -> None:
    task, folder, _, arguments, request = case
    pipeline = Pipeline.create(task, folder, alias="mine", **arguments)
    config = pipeline.to_config()
    assert config.kwargs == arguments
    again = Pipeline.from_config(config.model_dump_json())
    assert again.to_config() == config
    assert again(**request).model_dump_json() == pipeline(**request).model_dump_json()


def test_schemas_describe_themselves(case: Case) -> None:
    pipeline = Pipeline.create(case[0], case[1], **case[3])
    for schema, mode in ((pipeline.input_schema, "validation"), (pipeline.output_schema, "serialization")):
        described = schema.model_json_schema(mode=mode)  # type: ignore[arg-type]
        assert all("description" in field for field in described["properties"].values())
    with pytest.raises(ValueError, match="not_a_field"):
        pipeline(**case[4], not_a_field=1)


def test_many_requests_are_answered_in_order_as_one_by_one(case: Case) -> None:
    task, folder, _, arguments, request = case
    pipeline = Pipeline.create(task, folder, benchmark=True, **arguments)
    single = pipeline(**request).model_dump_json()
    pipeline.timer_manager.clear()
    assert [answer.model_dump_json() for answer in pipeline.map([request] * 5)] == [single] * 5
    assert list(pipeline.map([])) == []
    assert len(pipeline.timer_manager.timers) == 5
    assert set(pipeline.timer_manager.stages) == {
        "pre_process",
        "engine_forward",
        "post_process",
        "total_inference",
    }


def test_a_request_that_fails_fails_in_its_turn(case: Case) -> None:
    pipeline = Pipeline.create(case[0], case[1], **case[3])
    answers = pipeline.map([case[4], {"not_a_field": 1}, case[4]])
    assert next(answers) is not None
    with pytest.raises(ValueError, match="not_a_field"):
        next(answers)


def test_a_batch_gives_what_its_rows_give(case: Case) -> None:
    task, folder, _, arguments, request = case
    single = Pipeline.create(task, folder, **arguments)(**request)
    for batch_size in (3, None):
        many = Pipeline.create(task, folder, batch_size=batch_size, **arguments)(**request)
        assert many.model_dump_json() == single.model_dump_json()
