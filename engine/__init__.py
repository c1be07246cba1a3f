"""sparselane: an inference engine for CPUs, for ONNX models pruned, quantised or plain."""

from __future__ import annotations

from engine.api.engine import Engine, compile_model
from engine.api.explain import Explanation, explain
from engine.api.scheduler import Scheduler
from engine.errors import (
    EngineError,
    InputError,
    InputTypeError,
    InternalError,
    ModelError,
    ModelNotFoundError,
    OptionError,
    OptionTypeError,
    SparselaneError,
    TensorError,
    UnsupportedOpError,
)
from engine.results import BatchBenchmarkResult, BenchmarkResults

__version__ = "0.1.0"

__all__ = [
    "BatchBenchmarkResult",
    "BenchmarkResults",
    "Engine",
    "EngineError",
    "Explanation",
    "InputError",
    "InputTypeError",
    "InternalError",
    "ModelError",
    "ModelNotFoundError",
    "OptionError",
    "OptionTypeError",
    "Scheduler",
    "SparselaneError",
    "TensorError",
    "UnsupportedOpError",
    "__version__",
    "compile_model",
    "explain",
]
