"""Where a pipeline's files are: the ONNX file, and the folder with tokenizer and configuration beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from engine import ModelError, ModelNotFoundError
from engine.utils import model_to_path
from pipelines.names import did_you_mean


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model file, and the folder that holds what goes with it."""

    onnx_file: Path
    folder: Path


EMBEDDED = "embedded:"


def locate(model_path: str) -> Deployment:
    """The files of a model.

    model_path   an ONNX file, which brings its folder along; a folder with model.onnx; a stub; or
                 `embedded:<name>` for a model that is part of this package

    Raises ModelNotFoundError (a ValueError) when there is none.
    """
    if model_path.startswith(EMBEDDED):
        return _embedded(model_path.removeprefix(EMBEDDED))
    onnx_file = Path(model_to_path(model_path))
    return Deployment(onnx_file, onnx_file.parent)


def _embedded(name: str) -> Deployment:
    models = Path(str(files("pipelines"))) / "models"
    known = sorted(file.parent.name for file in models.glob("*/model.onnx"))
    if name not in known:
        message = (
            f'No embedded model "{name}"{did_you_mean(name, known)} This installation has: '
            f"{', '.join(known) or 'none'}. Give another model_path, or install again."
        )
        raise ModelNotFoundError(message)
    return Deployment(models / name / "model.onnx", models / name)


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no such file. Raises ModelError when it holds none."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{file} is not valid JSON: {error}"
        raise ModelError(message) from error
    if not isinstance(content, dict):
        message = f"{file} must hold a JSON object, not a {type(content).__name__}."
        raise ModelError(message)
    return content
