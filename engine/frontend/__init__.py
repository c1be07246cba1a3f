"""From an ONNX file to a graph: read, check, fold what the input shapes decide, write canonical forms."""

from __future__ import annotations

from engine.frontend.bind import bind
from engine.frontend.file import open_model
from engine.frontend.mapped import let_go
from engine.frontend.model import Model, ModelFacts, ModelInput, ModelOutput

__all__ = ["Model", "ModelFacts", "ModelInput", "ModelOutput", "bind", "let_go", "open_model"]
