"""The user's own examples, as they stand, after `engine.compat.install()`; stubs lead to embedded models."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine.compat
import pipelines
from engine.compat import NotServedError, NotServedNameError
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


def test_the_default_model_answers() -> None:
    run(DEFAULT_ANSWERS)


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


# An import or a use, and what the error says to do.
UNKNOWN = [
    ("from deepsparse import nothing", r"dir\(deepsparse\).*docs/moving\.md"),
    ("import deepsparse.nothing", r"docs/moving\.md"),
    ("import deepsparse; deepsparse.nothing", r"docs/moving\.md"),
    ("from deepsparse import Pipelin", r"did you mean deepsparse\.Pipeline\?"),
    ("import deepsparse.yolov", r"did you mean deepsparse\.yolo"),
    ("from deepsparse import YOLOPipeline", r"it is in deepsparse\.yolo\."),
    ("from deepsparse.engine import generate_random_inputs", r"it is in deepsparse\.utils\."),
    ("from deepsparse import TextGeneration", "text generation is not served"),
    ("import deepsparse; deepsparse.Chat", "text generation is not served"),
    ("from deepsparse.utils.data import split_engine_inputs", r"dir\(deepsparse\.utils\)"),
    ("from deepsparse.loggers.prometheus_logger import PrometheusLogger", "module logging"),
    ("import deepsparse.open_pif_paf", "pose estimation"),
]


@pytest.mark.parametrize(("text", "advice"), UNKNOWN, ids=[text for text, _ in UNKNOWN])
def test_unknown_names_are_errors_that_say_what_to_do(text: str, advice: str) -> None:
    kind = NotServedNameError if ";" in text else NotServedError
    with pytest.raises(kind, match=rf"is not served: .*{advice}") as error:
        run(text)
    assert isinstance(error.value, AttributeError if ";" in text else ImportError)
    assert "\n" not in str(error.value)


def test_an_unknown_attribute_is_an_attribute_error_too() -> None:
    import deepsparse

    assert not hasattr(deepsparse, "nothing")
    assert not hasattr(deepsparse, "Chat")
    assert getattr(deepsparse, "nothing", 1) == 1
    assert "Engine" in dir(deepsparse)


# What programs imported from the predecessor, by its documentation.
THEIRS = {
    "deepsparse": (
        "Engine compile_model Context MultiModelEngine Scheduler BaseEngine KVCacheParams model_debug_analysis "
        "benchmark_model benchmark_pipeline analyze evaluate Pipeline PipelineConfig TextGeneration CodeGeneration "
        "Chat question_answering_pipeline text_classification_pipeline sentiment_analysis_pipeline "
        "token_classification_pipeline zero_shot_text_classification_pipeline embedding_extraction_pipeline "
        "image_classification_pipeline yolo_pipeline haystack_pipeline SupportedTasks AliasedTask cpu_architecture "
        "cpu_avx2_compatible cpu_avx512_compatible cpu_vnni_compatible set_logging_level get_main_logger "
        "get_nm_root_logger is_release __version__ engine utils cpu benchmark pipeline legacy transformers server "
        "version yolo yolov8 yolact image_classification loggers"
    ),
    "deepsparse.version": (
        "version __version__ version_major version_minor version_bug version_build version_major_minor splash "
        "is_release is_enterprise optimized revision build_date is_nightly"
    ),
    "deepsparse.engine": "Context Engine MultiModelEngine Scheduler benchmark_model model_debug_analysis",
    "deepsparse.utils": "generate_random_inputs model_to_path",
    "deepsparse.pipelines.custom_pipeline": "CustomTaskPipeline",
}


@pytest.mark.parametrize(
    ("module", "name"), [(m, name) for m, names in THEIRS.items() for name in names.split()]
)
def test_every_name_of_theirs_is_served_or_names_its_replacement(module: str, name: str) -> None:
    advice = ABSENT.get(name) or ABSENT.get(f"{module}.{name}")
    if advice is None:
        assert name in run(f"from {module} import {name}")
        return
    with pytest.raises(NotServedError, match=re.escape(advice)):
        run(f"from {module} import {name}")


def test_another_package_of_the_name_is_not_replaced_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    engine.compat.uninstall()
    monkeypatch.setitem(sys.modules, "deepsparse", sys.modules["json"])
    with pytest.raises(NotServedError, match="imported before"):
        engine.compat.install()
    monkeypatch.delitem(sys.modules, "deepsparse")
