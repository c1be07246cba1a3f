"""Public names are a promise: whoever changes one changes this list on purpose."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PUBLIC: dict[str, list[str]] = {
    "engine": [
        "BatchBenchmarkResult",
        "BenchmarkResults",
        "ClosedError",
        "Context",
        "DeadlineError",
        "Engine",
        "EngineError",
        "ExecutionMode",
        "Explanation",
        "GraphOptimizationLevel",
        "InferenceSession",
        "InputError",
        "InputTypeError",
        "InternalError",
        "ModelError",
        "ModelNotFoundError",
        "MultiModelEngine",
        "OptionError",
        "OptionTypeError",
        "RequestCancelledError",
        "RunOptions",
        "Scheduler",
        "SessionOptions",
        "SparselaneError",
        "TensorError",
        "UnsupportedOpError",
        "WorkerError",
        "__version__",
        "compile_model",
        "explain",
    ],
    "pipelines": [
        "ENGINES",
        "EngineArguments",
        "EngineLike",
        "Pipeline",
        "PipelineConfig",
        "StagedTimer",
        "Task",
        "TextPipeline",
        "TimerManager",
        "embedding_extraction_pipeline",
        "find_task",
        "image_classification_pipeline",
        "question_answering_pipeline",
        "sentiment_analysis_pipeline",
        "text_classification_pipeline",
        "token_classification_pipeline",
        "yolo_pipeline",
        "zero_shot_text_classification_pipeline",
    ],
    "serve": ["EndpointConfig", "ServerConfig", "Service", "build_app", "create_app", "read_config"],
}
HEAVY = ("flask", "transformers", "torch", "onnxruntime", "openvino", "tokenizers")


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_are_frozen_and_sorted(package: str) -> None:
    module = importlib.import_module(package)
    assert list(module.__all__) == PUBLIC[package]
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize(("package", "name"), [(p, name) for p, names in PUBLIC.items() for name in names])
def test_one_module_offers_every_public_name(package: str, name: str) -> None:
    import sparselane

    assert getattr(sparselane, name) is getattr(importlib.import_module(package), name)
    assert name in dir(sparselane)


def test_the_one_module_has_no_other_names() -> None:
    import sparselane

    assert sparselane.engine is importlib.import_module("engine")
    assert not hasattr(sparselane, "nothing")
    assert not hasattr(sparselane, "__all__")


@pytest.mark.parametrize("package", ["engine", "engine.bench.__main__", "sparselane"])
def test_importing_the_engine_brings_in_nothing_of_the_upper_rooms(package: str) -> None:
    code = f"import sys, {package}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
