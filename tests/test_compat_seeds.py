"""The user's own examples, as they stand, after `engine.compat.install()`; stubs lead to embedded models."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine.compat
import pipelines
from engine.compat import NotServedError
from engine.compat.names import ABSENT, MODULES

pytestmark = pytest.mark.xdist_group("cores")
MODELS = Path(pipelines.__file__).parent / "models"
SENTIMENT = "zoo:nlp/sentiment_analysis/obert-base/pytorch/huggingface/sst2/pruned90_quant-none"
ANSWERS = "zoo:nlp/question_answering/bert-base_cased/pytorch/huggingface/squad/pruned90_quant-none"
PIXELS = "zoo:cv/classification/resnet_v1-50/pytorch/sparseml/imagenet/pruned95_quant-none"
QUESTIONS = MODELS / "qa-minilm-l6-int8"

ENGINE = """
from deepsparse import Engine
from deepsparse.utils import generate_random_inputs, model_to_path
import numpy as np

# download onnx from sparsezoo and compile with batchsize 1
sparsezoo_stub = "zoo:nlp/sentiment_analysis/obert-base/pytorch/huggingface/sst2/pruned90_quant-none"
batch_size = 1
bert_engine = Engine(
  model=sparsezoo_stub,   # sparsezoo stub or path to local ONNX
  batch_size=batch_size,   # defaults to batch size 1,
  scheduler="multi_stream" # default: maps to single_stream
)

# input is raw numpy tensors, output is raw scores for classes
inputs = generate_random_inputs(model_to_path(sparsezoo_stub), batch_size)
output = bert_engine(inputs)
print(output)
"""
TWELVE_STREAMS = ENGINE.replace(
    '"multi_stream" # default: maps to single_stream', '"multi_stream",\n  num_streams = 12'
)
CONTEXT = """
from deepsparse import Context
from deepsparse import MultiModelEngine
from deepsparse.engine import Context
import numpy as np

zoo_stub = "zoo:cv/classification/resnet_v1-50/pytorch/sparseml/imagenet/pruned95_quant-none"

context = Context(num_streams=2)

engine_b64 = MultiModelEngine(
    model=zoo_stub, 
    context=context,
    batch_size=64
)

random_b64 = np.random.rand(64,3,224,224).astype(np.single)
output_b64 = engine_b64([random_b64])

print("\\nb64 response:")
print(output_b64[0].shape)
"""  # noqa: W291
PIPELINE = """
from deepsparse import Pipeline

# download onnx from sparsezoo and compile with batch size 1
sparsezoo_stub = "zoo:nlp/sentiment_analysis/obert-base/pytorch/huggingface/sst2/pruned90_quant-none"
batch_size = 1
sa_pipeline = Pipeline.create(
  task="sentiment-analysis",
  model_path=sparsezoo_stub,   # sparsezoo stub or path to local ONNX
  batch_size=1,                # default batch size is 1
  scheduler="single_stream" # default: maps to single_stream
)

# run inference on image file
prediction = sa_pipeline("The sentiment analysis pipeline is fast and easy to use")
print(prediction)
"""
COMPILE = {
    word: f'engine = compile_model(model_path, batch_size, num_cores, "{word}")'
    for word in ("single_stream", "multi_stream")
}
DEFAULT_ANSWERS = """
from deepsparse import Pipeline

# create a QuestionAnsweringPipeline with a default sparse QA model
qa_pipeline = Pipeline.create(task="question-answering")

# run sample inference
qa_pipeline(question="who is mark?", context="mark is batman")
"""
CUSTOM = """
from deepsparse import Pipeline

# register and define custom pipeline
@Pipeline.register(task="my-custom-task")
class MyCustomPipeline(Pipeline):
    pass
"""
ANSWER_HEAD = """
from deepsparse import Pipeline
task = "question-answering"
qa_pipeline = Pipeline.create(
        task=task,
        model_path="zoo:nlp/question_answering/bert-base_cased/pytorch/huggingface/squad/pruned90_quant-none",
    )
"""
ASK = """
q_context = "DeepSparse is sparsity-aware inference runtime offering GPU-class performance on CPUs and APIs to integrate ML into your application"
question = "What is DeepSparse?"
output = qa_pipeline(question=question, context=q_context)
print(output)
"""  # noqa: E501
LENGTH = """
from deepsparse import Pipeline

# download onnx from sparsezoo and compile with batch size 1
sparsezoo_stub = "zoo:nlp/question_answering/bert-base_cased/pytorch/huggingface/squad/pruned90_quant-none"
batch_size = 1
task = "question-answering"
sequence_length = 64
pipeline = Pipeline.create(
        task=task,
        model_path=sparsezoo_stub,  # sparsezoo stub or path to local ONNX
    sequence_length=sequence_length,
    batch_size =batch_size, # default batch size is 1
    )

# run inference on image file
"""
BUCKETS = LENGTH.replace("sequence_length = 64", "buckets = [16, 128]\n").replace(
    "sequence_length=sequence_length,", "sequence_length=buckets, # creates bucketed pipeline"
)


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for stub, folder in {SENTIMENT: next(MODELS.glob("sentiment-*")), ANSWERS: QUESTIONS}.items():
        place = tmp_path / stub.removeprefix("zoo:")
        place.parent.mkdir(parents=True)
        place.symlink_to(folder)
    monkeypatch.setenv("SPARSELANE_ZOO", str(tmp_path))
    engine.compat.install()
    yield
    engine.compat.uninstall()
    assert not [name for name in sys.modules if name.startswith("deepsparse")]


@pytest.fixture
def _answers() -> None:
    if not (QUESTIONS / "model.onnx").is_file():
        pytest.skip(f"needs the model {QUESTIONS.name}, which tools/train/qa.py makes")


def run(text: str, **names: Any) -> dict[str, Any]:
    """The names that a snippet leaves behind."""
    exec(compile(text, "snippet", "exec"), names)  # noqa: S102 - the texts of this file
    return names


@pytest.mark.parametrize("text", [ENGINE, TWELVE_STREAMS], ids=["multi_stream", "twelve_streams"])
def test_the_engine_runs_on_random_inputs(text: str) -> None:
    left = run(text)
    assert [(array.shape, array.dtype) for array in left["output"]] == [((1, 2), np.float32)]


def test_the_pipeline_prints_labels_and_scores(capsys: pytest.CaptureFixture[str]) -> None:
    run(PIPELINE)
    assert capsys.readouterr().out.startswith("labels=['positive'] scores=[0.9")


@pytest.mark.parametrize("word", COMPILE)
def test_the_fourth_place_takes_the_schedulers_name(word: str) -> None:
    names = {"model_path": SENTIMENT, "batch_size": 1, "num_cores": 1}
    left = run(f"from deepsparse import compile_model, Scheduler\n{COMPILE[word]}", **names)
    assert left["engine"].scheduler == left["Scheduler"](word) == word


@pytest.mark.slow
def test_two_streams_share_a_context(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from engine.utils import model_to_path

    place = tmp_path / PIXELS.removeprefix("zoo:")
    place.mkdir(parents=True)
    (place / "model.onnx").symlink_to(Path(model_to_path("synthetic:resnet50-p95-qdq")).resolve())
    run(CONTEXT)
    assert "b64 response:\n(64, 1000)" in capsys.readouterr().out


@pytest.mark.usefixtures("_answers")
def test_the_default_model_answers() -> None:
    run(DEFAULT_ANSWERS)


@pytest.mark.usefixtures("_answers")
@pytest.mark.parametrize("pipeline", ["", LENGTH, BUCKETS], ids=["default", "length", "buckets"])
def test_questions_are_answered(pipeline: str, capsys: pytest.CaptureFixture[str]) -> None:
    left = run(ANSWER_HEAD + pipeline + ASK)
    found = left["output"]
    assert left["q_context"][found.start : found.end] == found.answer
    assert "score=" in capsys.readouterr().out


def test_a_custom_task_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.registry import _TASKS, find_task

    find_task("qa")
    monkeypatch.setattr("pipelines.registry._TASKS", dict(_TASKS))
    left = run(CUSTOM)
    assert find_task("my-custom-task").pipeline is left["MyCustomPipeline"]


@pytest.mark.parametrize("module", MODULES)
def test_every_name_of_the_tables_leads_somewhere(module: str) -> None:
    left = run(f"from {module} import *")
    assert set(MODULES[module]) <= set(left) | {"__version__"}


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_left_out_names_its_replacement(name: str) -> None:
    text = f"import {name}" if name.startswith("deepsparse") else f"from deepsparse import {name}"
    with pytest.raises(NotServedError, match="is not served: "):
        run(text)


def test_unknown_names_are_import_errors() -> None:
    with pytest.raises(ImportError, match="nothing"):
        run("from deepsparse import nothing")
    with pytest.raises(NotServedError, match=r"docs/moving\.md"):
        run("import deepsparse.nothing")
    import deepsparse

    assert not hasattr(deepsparse, "nothing")
    assert "Engine" in dir(deepsparse)


def test_another_package_of_the_name_is_not_replaced_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    engine.compat.uninstall()
    monkeypatch.setitem(sys.modules, "deepsparse", sys.modules["json"])
    with pytest.raises(NotServedError, match="imported before"):
        engine.compat.install()
    monkeypatch.delitem(sys.modules, "deepsparse")
