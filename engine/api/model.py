"""A model's name to a file: a path, a folder, `synthetic:...`, or a stub that the user registered."""

from __future__ import annotations

import os
from pathlib import Path

from engine.api.stubs import resolve_stub
from engine.errors import ModelError, ModelNotFoundError
from engine.synthetic import open_synthetic

MODEL_ONNX_NAME = "model.onnx"
STUB_PREFIXES = ("zoo:", "hf:")


def model_to_path(model: str | os.PathLike[str]) -> str:
    """The ONNX file that `model` names; a path is returned as it was given.

    model   an .onnx file; a folder that holds model.onnx; `synthetic:NAME?OPTIONS`; a registered `zoo:` or `hf:` stub

    Raises ModelNotFoundError when there is no such file, folder or stub, ModelError for an empty or foreign value.
    Nothing is downloaded and nothing is written to the model.
    """
    if not isinstance(model, (str, os.PathLike)) or not os.fspath(model):
        message = f"a model must be a path, a folder, a stub or synthetic:...; got {type(model).__name__} {model!r}."
        raise ModelError(message)
    name = os.fspath(model)
    if name.startswith("synthetic:"):
        return str(open_synthetic(name))
    if name.startswith(STUB_PREFIXES):
        return _in_folder(resolve_stub(name))
    path = Path(name)
    if path.is_dir():
        return _in_folder(path)
    if not path.exists():
        message = f"model path must exist: {name} is neither a file nor a folder. Check the spelling and the working folder."
        raise ModelNotFoundError(message)
    return name


def _in_folder(path: Path) -> str:
    if path.is_file():
        return str(path)
    for place in (path / MODEL_ONNX_NAME, path / "deployment" / MODEL_ONNX_NAME):
        if place.is_file():
            return str(place)
    others = sorted(entry.name for entry in path.glob("*.onnx"))
    seen = f"It holds {', '.join(others)}: name one of them." if others else "It holds no .onnx file."
    message = f"the folder {path} has no {MODEL_ONNX_NAME}. {seen}"
    raise ModelNotFoundError(message)
