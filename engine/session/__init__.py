"""ONNX Runtime's way of asking: `import engine.session as onnxruntime`, and a program goes on unchanged.

options    SessionOptions, RunOptions and their enumerations: what is honoured, what has no meaning here
values     OrtValue: an array in a wrapper
binding    IOBinding: arrays bound to names ahead of a run
session    InferenceSession
"""

from engine.session.binding import IOBinding
from engine.session.options import ExecutionMode, GraphOptimizationLevel, RunOptions, SessionOptions
from engine.session.session import (
    PROVIDER,
    InferenceSession,
    ModelMetadata,
    NodeArg,
    get_available_providers,
    get_device,
)
from engine.session.values import OrtValue

__all__ = [
    "PROVIDER",
    "ExecutionMode",
    "GraphOptimizationLevel",
    "IOBinding",
    "InferenceSession",
    "ModelMetadata",
    "NodeArg",
    "OrtValue",
    "RunOptions",
    "SessionOptions",
    "get_available_providers",
    "get_device",
]
