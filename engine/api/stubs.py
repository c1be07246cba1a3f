"""Stubs of the predecessor's model zoo, which was shut down in June 2025: resolved on this machine only.

1. stubs.yaml    stub -> folder or file, as the user registered it
2. zoo folder    <zoo>/<stub without its prefix>/model.onnx or .../deployment/model.onnx
3. the predecessor's own download folder, read only
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from engine.errors import ModelError, ModelNotFoundError, first_line
from engine.options import cache_directory, environment_option


def stubs_file() -> Path | None:
    """Where registered stubs are kept; None when there is no cache folder."""
    setting = environment_option("ENGINE_STUBS")
    if setting is not None:
        return Path(setting.value).expanduser()
    base = cache_directory()
    return None if base is None else base / "stubs.yaml"


def registered() -> dict[str, str]:
    """Registered stubs and where they lead. Raises ModelError for a file that is not such a table."""
    path = stubs_file()
    if path is None or not path.is_file():
        return {}
    try:
        table = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        message = f"{path} cannot be read as YAML: {str(error).splitlines()[0]}. Mend it or remove it."
        raise ModelError(message) from error
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        message = f"{path} must map stubs to paths, one `stub: path` a line. Mend it or remove it."
        raise ModelError(message)
    return {str(stub): place for stub, place in table.items()}


def register(stub: str, place: str | os.PathLike[str]) -> Path:
    """Let `stub` stand for a folder or file; returns the table's path.

    Raises ModelNotFoundError when the place does not exist, ModelError when nothing can be written.
    """
    target = Path(place).expanduser().resolve()
    if not (target.is_file() or _holds_model(target)):
        lacking = "has no model.onnx" if target.is_dir() else "does not exist"
        message = f"{place} {lacking}; nothing was registered for {stub}."
        raise ModelNotFoundError(message)
    path = stubs_file()
    if path is None:
        message = "there is no cache folder (ENGINE_CACHE_DIR=off); set ENGINE_STUBS to a file to register stubs in."
        raise ModelError(message)
    table = {**registered(), stub: str(target)}
    fresh = path.with_suffix(f".{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(yaml.safe_dump(table))
        fresh.replace(path)
    except OSError as error:
        message = f"{path} cannot be written ({first_line(error)}); set ENGINE_STUBS to a file that can."
        raise ModelError(message) from error
    return path


def _zoo() -> Path | None:
    setting = environment_option("SPARSELANE_ZOO", "ENGINE_ZOO")
    if setting is not None:
        return Path(setting.value).expanduser()
    base = cache_directory()
    return None if base is None else base / "zoo"


def _predecessor() -> Path:
    setting = environment_option("SPARSEZOO_MODELS_PATH")
    return Path(setting.value) if setting is not None else Path.home() / ".cache" / "sparsezoo"


def _holds_model(folder: Path) -> bool:
    return any((folder / part / "model.onnx").is_file() for part in ("", "deployment"))


def resolve_stub(stub: str) -> Path:
    """The folder or file that a stub stands for on this machine.

    Raises ModelNotFoundError, saying where it was looked for and how to register it.
    """
    known = registered()
    if stub in known:
        return Path(known[stub])
    name = stub.partition(":")[2].partition("?")[0].strip("/")
    zoo = _zoo()
    if zoo is not None and _holds_model(zoo / name):
        return zoo / name
    found = [folder for folder in sorted(_predecessor().glob(f"*/{name}")) if _holds_model(folder)]
    if len(found) == 1 and name:
        return found[0]
    gone = "" if stub.startswith("hf:") else " the zoo that served it was shut down in June 2025, and"
    message = (
        f"no model is registered for {stub};{gone} nothing is "
        f"downloaded. Looked in {stubs_file()}, {zoo} and {_predecessor()}. "
        f"Register a local folder with model.onnx: python -m engine.models add {stub} FOLDER"
    )
    raise ModelNotFoundError(message)
