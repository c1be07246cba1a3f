"""The user's own examples, with our imports: stubs of the old zoo stand for the embedded models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

import pipelines
from engine import Context, Engine, MultiModelEngine
from engine.utils import generate_random_inputs, model_to_path
from pipelines import Pipeline, question_answering_pipeline

MODELS = Path(pipelines.__file__).parent / "models"
SENTIMENT = "zoo:nlp/sentiment_analysis/obert-base/pytorch/huggingface/sst2/pruned90_quant-none"
ANSWERS = "zoo:nlp/question_answering/bert-base_cased/pytorch/huggingface/squad/pruned90_quant-none"
PIXELS = "zoo:cv/classification/resnet_v1-50/pytorch/sparseml/imagenet/pruned95_quant-none"
STAND_INS = {SENTIMENT: "sentiment-minilm-l3-pruned80-int8", ANSWERS: "qa-minilm-l6-int8"}
CONTEXT = (
    "DeepSparse is sparsity-aware inference runtime offering GPU-class performance on CPUs and APIs to integrate ML "
    "into your application"
)


@pytest.fixture(autouse=True)
def _zoo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for stub, name in STAND_INS.items():
        place = tmp_path / stub.removeprefix("zoo:")
        place.parent.mkdir(parents=True)
        place.symlink_to(MODELS / name)
    monkeypatch.setenv("ENGINE_ZOO", str(tmp_path))
    monkeypatch.setenv("SPARSELANE_ZOO", str(tmp_path))


def test_an_engine_takes_a_stub_and_random_inputs() -> None:
    batch_size = 1
    bert_engine = Engine(model=SENTIMENT, batch_size=batch_size, scheduler="multi_stream")
    inputs = generate_random_inputs(model_to_path(SENTIMENT), batch_size)
    output = bert_engine(inputs)
    assert [array.shape for array in output] == [(1, 2)]
    assert output[0].dtype == np.float32


@pytest.mark.slow
def test_an_engine_in_a_context_answers_a_batch_of_64(tmp_path: Path) -> None:
    place = tmp_path / PIXELS.removeprefix("zoo:")
    place.mkdir(parents=True)
    (place / "model.onnx").symlink_to(Path(model_to_path("synthetic:resnet50-p95-qdq")).resolve())
    context = Context(num_streams=2)
    engine_b64 = MultiModelEngine(model=PIXELS, context=context, batch_size=64)
    output_b64 = engine_b64([np.random.default_rng(0).random((64, 3, 224, 224)).astype(np.single)])
    assert output_b64[0].shape == (64, 1000)


def test_a_sentiment_pipeline_prints_labels_and_scores() -> None:
    sa_pipeline = Pipeline.create(
        task="sentiment-analysis", model_path=SENTIMENT, batch_size=1, scheduler="single_stream"
    )
    prediction = sa_pipeline("The sentiment analysis pipeline is fast and easy to use")
    assert str(prediction).startswith("labels=['positive'] scores=[0.9")


def test_the_default_model_answers_a_question() -> None:
    qa_pipeline = Pipeline.create(task="question-answering")
    found: Any = qa_pipeline(question="who is mark?", context="mark is batman")
    assert (found.answer, found.start, found.end) == ("batman", 8, 14)
    assert list(found.model_dump()) == ["score", "answer", "start", "end"]
    assert question_answering_pipeline()(question="who is mark?", context="mark is batman") == found


@pytest.mark.parametrize("sequence_length", [128, 64, [16, 128]])
def test_questions_are_answered_at_every_length(sequence_length: Any) -> None:
    pipeline = Pipeline.create(
        task="question-answering", model_path=ANSWERS, sequence_length=sequence_length, batch_size=1
    )
    found: Any = pipeline(question="What is DeepSparse?", context=CONTEXT)
    assert CONTEXT[found.start : found.end] == found.answer
    assert "sparsity-aware inference runtime" in found.answer
    found = pipeline(question="Who is Mark?", context="Mark is batman.")
    assert (found.answer, found.start, found.end) == ("batman", 8, 14)


def test_a_custom_task_is_registered_and_created(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.registry import _TASKS, find_task

    find_task("qa")
    monkeypatch.setattr("pipelines.registry._TASKS", dict(_TASKS))

    @Pipeline.register(task="my-custom-task")
    class MyCustomPipeline(Pipeline):
        """The least that a task has to say."""

        input_schema = output_schema = BaseModel

        def process_inputs(self, inputs: Any) -> Any:
            return inputs

        def process_engine_outputs(self, engine_outputs: Any, **context: Any) -> Any:
            return engine_outputs

    custom_pipeline = Pipeline.create(task="my-custom-task", model_path=SENTIMENT)
    assert isinstance(custom_pipeline, MyCustomPipeline)
