"""Creating pipelines: arguments, model files, errors, and the way to a config and back."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from stand_in_engine import StandInEngine

from engine import ModelError, ModelNotFoundError, OptionError
from pipelines import ENGINES, EngineArguments, Pipeline, PipelineConfig

TASK = "sentiment-analysis"


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "stand-in", StandInEngine)
    monkeypatch.setitem(ENGINES, "engine", StandInEngine)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A deployment folder with everything but a real model."""
    embedded = Path(Pipeline.create(TASK, engine_type="stand-in").deployment.folder)
    for file in embedded.glob("*.json"):
        shutil.copy(file, tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"left alone")
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"batch_size": 4, "sequence_length": 64, "top_k": 2},
        {"batch_size": None, "alias": "mine", "num_cores": 1, "num_streams": 2, "scheduler": "multi_stream"},
        {"input_shapes": [[1, 32]], "config": {"id2label": {"0": "a", "1": "b"}}},
        {"engine_type": "stand-in", "tokenizer": None},
    ],
)
def test_a_config_makes_an_equal_pipeline(arguments: dict[str, Any]) -> None:
    first = Pipeline.create(TASK, **arguments)
    config = first.to_config()
    for again in (
        Pipeline.from_config(config),
        Pipeline.from_config(config.model_dump_json()),
    ):
        assert again.to_config() == config
        assert again.engine_args == first.engine_args
        assert again("a", "b") == first("a", "b")
        assert type(again) is type(first)


def test_a_config_may_be_a_file(tmp_path: Path) -> None:
    config = Pipeline.create(TASK, top_k=2).to_config()
    (tmp_path / "pipeline.json").write_text(config.model_dump_json(), encoding="utf-8")
    assert Pipeline.from_config(tmp_path / "pipeline.json").to_config() == config
    assert Pipeline.from_config(str(tmp_path / "pipeline.json")).to_config() == config


def test_paths_in_a_config_are_text(folder: Path) -> None:
    config = Pipeline.create(TASK, folder, tokenizer=folder).to_config()
    assert config.model_path == str(folder)
    assert config.kwargs == {"tokenizer": str(folder)}


def test_objects_have_no_place_in_a_config() -> None:
    from transformers import AutoTokenizer

    embedded = Pipeline.create(TASK).deployment.folder
    pipeline = Pipeline.create(TASK, tokenizer=AutoTokenizer.from_pretrained(str(embedded)))
    with pytest.raises(OptionError, match="no JSON form"):
        pipeline.to_config()


def test_configs_have_no_unknown_fields() -> None:
    with pytest.raises(ValueError, match="sequence_length"):
        PipelineConfig.model_validate({"task": TASK, "sequence_length": 3})


@pytest.mark.parametrize("form", ["folder", "file", "text", "model="])
def test_a_model_is_a_folder_or_a_file(folder: Path, form: str) -> None:
    forms: dict[str, dict[str, Any]] = {
        "folder": {"model_path": folder},
        "file": {"model_path": folder / "model.onnx"},
        "text": {"model_path": str(folder)},
        "model=": {"model": folder},
    }
    pipeline = Pipeline.create(TASK, **forms[form])
    assert Path(pipeline.onnx_file_path) == folder / "model.onnx"
    assert pipeline("a") == Pipeline.create(TASK)("a")
    assert (folder / "model.onnx").read_bytes() == b"left alone"


@pytest.mark.parametrize("model_path", [None, "default"])
def test_without_a_model_the_embedded_one_is_taken(model_path: str | None) -> None:
    pipeline = Pipeline.create(TASK, model_path)
    assert pipeline.model_path == pipeline.default_model_path
    assert Path(pipeline.onnx_file_path).is_file()
    assert Path(pipeline.onnx_file_path).parent.parent.name == "models"


def test_model_and_model_path_together_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="two words"):
        Pipeline.create(TASK, folder, model=folder)


@pytest.mark.parametrize(
    "model_path", ["missing", "missing/model.onnx", "embedded:sentiment", "zoo:nlp/none"]
)
def test_a_missing_model_is_one_kind_of_error(model_path: str) -> None:
    with pytest.raises(ModelNotFoundError) as error:
        Pipeline.create(TASK, model_path)
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, FileNotFoundError)


def test_a_broken_config_beside_the_model_is_named(folder: Path) -> None:
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json"):
        Pipeline.create(TASK, folder)
    (folder / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ModelError, match="object"):
        Pipeline.create(TASK, folder)


@pytest.mark.parametrize(
    ("keyword", "nearest"),
    [("sequence_lenght", "sequence_length"), ("batchsize", "batch_size"), ("topk", "top_k")],
)
def test_an_unknown_keyword_is_a_type_error_with_the_nearest(keyword: str, nearest: str) -> None:
    with pytest.raises(TypeError, match=f'unexpected keyword argument "{keyword}"; did you mean "{nearest}"'):
        Pipeline.from_config(PipelineConfig(task=TASK, kwargs={keyword: 1}))


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r'did you mean "onnxruntime".*engine, deepsparse, onnxruntime'):
        Pipeline.create(TASK, engine_type="onnxruntim")


def test_the_predecessors_engine_name_means_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "deepsparse", StandInEngine)
    assert Pipeline.create(TASK, engine_type="deepsparse").engine_type == "engine"


def test_arguments_reach_the_engine() -> None:
    pipeline = Pipeline.create(
        TASK, batch_size=2, num_cores=1, num_streams=3, scheduler="elastic", sequence_length=16
    )
    assert pipeline.engine_args == EngineArguments(
        pipeline.onnx_file_path, 2, 1, 3, "elastic", input_shapes=[[2, 16]]
    )
    assert isinstance(pipeline.engine, StandInEngine)
    assert pipeline.engine.arguments == pipeline.engine_args


@pytest.mark.parametrize("executor", [0, -1, 1.5, "two", True])
def test_an_executor_is_a_pool_or_a_number(executor: Any) -> None:
    with pytest.raises(OptionError, match="executor"):
        Pipeline.create(TASK, executor=executor)


def test_batches_of_one_call_run_on_the_executor() -> None:
    class Counting(ThreadPoolExecutor):
        ran = 0

        def map(self, *args: Any, **keywords: Any) -> Any:
            Counting.ran += 1
            return super().map(*args, **keywords)

    with Counting(2) as pool:
        pipeline = Pipeline.create(TASK, executor=pool)
        assert pipeline.executor is pool
        pipeline("a", "b", "c")
    assert Counting.ran == 1


def test_a_benchmark_keeps_every_calls_timer() -> None:
    pipeline = Pipeline.create(TASK)
    pipeline("a")
    pipeline("b")
    assert len(pipeline.timer_manager.timers) == 1
    pipeline.benchmark = True
    pipeline("c")
    pipeline("d")
    assert len(pipeline.timer_manager.timers) == 3
    assert pipeline.current_timer is pipeline.timer_manager.latest
    assert pipeline.timer_manager.stages == [
        "pre_process",
        "engine_forward",
        "post_process",
        "total_inference",
    ]


def test_one_pipeline_serves_several_threads() -> None:
    pipeline = Pipeline.create(TASK)
    texts = [f"text number {n}" for n in range(40)]
    expected = [pipeline(text) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(pipeline, texts)) == expected
