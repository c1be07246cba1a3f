"""From an ONNX file to a graph: read, check, fold what the input shapes decide, write canonical forms."""

from __future__ import annotations

from engine.frontend.bind import bind
from engine.frontend.file import open_model
from engine.frontend.model import Model, ModelInput

__all__ = ["Model", "ModelInput", "bind", "open_model"]
