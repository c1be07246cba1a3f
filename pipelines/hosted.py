"""Models by the names of hosted collections: `hf:` through the hub's cache, `zoo:` from folders of this machine."""

from __future__ import annotations

import os
from pathlib import Path

from engine import ModelNotFoundError, OptionError
from engine.utils import model_to_path

ZOO, HUB = "zoo:", "hf:"
# What a deployment consists of; weights of other frameworks stay where they are.
_WANTED = ("*.onnx", "*.onnx_data", "*.json", "*.txt", "*.model", "README.md")
ONNX_PLACES = ("model.onnx", "deployment/model.onnx", "onnx/model.onnx")


def zoo_model(stub: str) -> Path:
    """The folder or file of a stub of the predecessor's model zoo.

    `SPARSELANE_ZOO` names the folder of own copies: <folder>/<stub without zoo:>/model.onnx, or deployment/model.onnx
    in it. What the engine's table of stubs says comes first.

    Raises ModelNotFoundError, saying that the hosted zoo is gone and where copies may lie.
    """
    try:
        return Path(model_to_path(stub))
    except ModelNotFoundError as error:
        reason = str(error)
    mirror = os.environ.get("SPARSELANE_ZOO") or os.environ.get("ENGINE_ZOO")
    name = stub.removeprefix(ZOO).partition("?")[0].strip("/")
    if mirror:
        folder = Path(mirror).expanduser() / name
        if folder.is_dir() and onnx_in(folder) is not None:
            return folder
        reason = f"SPARSELANE_ZOO is {mirror}, and {folder} holds no model.onnx. {reason}"
    message = (
        f"{stub}: the hosted zoo was shut down in June 2025 and serves no models. If you have copies, set "
        f"SPARSELANE_ZOO to their folder, so that <folder>/{name}/model.onnx exists, or give the model's own path. "
        f"({reason})"
    )
    raise ModelNotFoundError(message)


def hub_model(stub: str) -> Path:
    """The folder of a repository of the Hugging Face hub, `hf:owner/name` or `hf:owner/name@revision`.

    What lies in the hub's cache is taken from there; the rest is downloaded, unless HF_HUB_OFFLINE is set. What the
    engine's table of stubs says comes first.

    Raises ModelNotFoundError when the repository cannot be had, OptionError without huggingface_hub.
    """
    try:
        return Path(model_to_path(stub))
    except ModelNotFoundError:
        pass
    try:
        from huggingface_hub import snapshot_download  # it comes with transformers
    except ImportError as error:
        message = f"{stub} needs huggingface_hub: pip install huggingface_hub."
        raise OptionError(message) from error
    name, _, revision = stub.removeprefix(HUB).partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(_WANTED)))
    except Exception as error:  # many kinds, from a bad name to a broken connection
        lines = str(error).strip().splitlines()
        message = (
            f"{stub} is not in the hub's cache and cannot be downloaded: {lines[0] if lines else error!r}. "
            "Download it where there is a network (huggingface-cli download), or give a local folder."
        )
        raise ModelNotFoundError(message) from error


def onnx_in(folder: Path) -> Path | None:
    """The ONNX file of a deployment folder, in one of the places that exporters use."""
    return next((folder / place for place in ONNX_PLACES if (folder / place).is_file()), None)
