"""Where a pipeline's files are: the ONNX file, and the folder with tokenizer and configuration beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from engine import ModelError, ModelNotFoundError
from engine.utils import model_to_path
from pipelines.hosted import HUB, ZOO, hub_model, onnx_in, zoo_model
from pipelines.names import did_you_mean
from pipelines.registry import all_tasks


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model file, and the folder that holds what goes with it."""

    onnx_file: Path
    folder: Path


EMBEDDED = "embedded:"


def locate(model_path: str) -> Deployment:
    """The files of a model.

    model_path   an ONNX file, which brings its folder along; a folder with model.onnx; `synthetic:...`; `hf:` and
                 `zoo:` stubs (`pipelines.hosted`); or `embedded:<name>` for a model that is part of this package

    Raises ModelNotFoundError (a ValueError) when there is none.
    """
    if model_path.startswith(EMBEDDED):
        return _embedded(model_path.removeprefix(EMBEDDED))
    if model_path.startswith((ZOO, HUB)):
        found = zoo_model(model_path) if model_path.startswith(ZOO) else hub_model(model_path)
        model_path = str(found)
    folder, nested = Path(model_path), None
    if folder.is_dir():
        nested = onnx_in(folder)
    onnx_file = Path(model_to_path(model_path)) if nested is None else nested
    # Exporters put the file into onnx/ and leave configuration and tokenizer above it.
    beside = (onnx_file.parent / "config.json").is_file() or nested is None
    return Deployment(onnx_file, onnx_file.parent if beside else folder)


def _embedded(name: str) -> Deployment:
    models = models_folder()
    known = sorted(file.parent.name for file in models.glob("*/model.onnx"))
    if name in known:
        return Deployment(models / name / "model.onnx", models / name)
    owners = {task.default_model_path: task.name for task in all_tasks()}
    if EMBEDDED + name in owners:
        message = (
            f'The model of the task {owners[EMBEDDED + name]}, "{name}", is missing from this installation. Give '
            "model_path= a model for that task (an ONNX file, or a folder with model.onnx), or install again."
        )
        raise ModelNotFoundError(message)
    listed = ", ".join(f"{model} ({owners.get(EMBEDDED + model, 'no task')})" for model in known)
    message = (
        f'No embedded model "{name}"{did_you_mean(name, known)} This installation has: {listed or "none"}.'
    )
    raise ModelNotFoundError(message)


def models_folder() -> Path:
    """Where the embedded models are."""
    return Path(str(files("pipelines"))) / "models"


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
