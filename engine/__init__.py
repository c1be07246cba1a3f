"""sparselane: an inference engine for CPUs, for ONNX models pruned, quantised or plain."""

from __future__ import annotations

from engine.api.context import Context, MultiModelEngine
from engine.api.engine import Engine, compile_model
from engine.api.explain import Explanation, explain
from engine.api.scheduler import Scheduler
from engine.errors import (
    ClosedError,
    DeadlineError,
    EngineError,
    InputError,
    InputTypeError,
    InternalError,
    ModelError,
    ModelNotFoundError,
    OptionError,
    OptionTypeError,
    RequestCancelledError,
    SparselaneError,
    TensorError,
    UnsupportedOpError,
    WorkerError,
)
from engine.results import BatchBenchmarkResult, BenchmarkResults
from engine.session import ExecutionMode, GraphOptimizationLevel, InferenceSession, RunOptions, SessionOptions

__version__ = "0.1.0"

__all__ = [
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
]
