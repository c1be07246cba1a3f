"""Which images a request may name: those that it carries, and those of one folder of the server's owner."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from serve.bodies import takes_files

_DATA_URL = "data:"
_ADVICE = "An image in a request is a data URL (data:image/png;base64,...), base64, or pixels as nested lists"


def carried(asked: BaseModel, folder: Path | None) -> BaseModel:
    """The request with every image that it names read, or as it carries it.

    asked    the input of any task; only those of image tasks have images
    folder   whose files requests may name, relative to it; None: none

    Raises ValueError for a path, unless it leads to a file in the folder. What lies elsewhere on the server's disk
    is not even looked at, so that an answer does not tell whether it is there.
    """
    if not takes_files(type(asked)):
        return asked
    return asked.model_copy(update={"images": _each(getattr(asked, "images", None), folder)})


def _each(value: Any, folder: Path | None) -> Any:
    if isinstance(value, list) and any(isinstance(entry, (str, list)) for entry in value):
        return [_each(entry, folder) for entry in value]
    return _image(value, folder) if isinstance(value, str) else value


def _image(text: str, folder: Path | None) -> Any:
    if text.startswith(_DATA_URL):
        return text
    file = None if folder is None else _inside(folder, text)
    if file is not None:
        return file.read_bytes()
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    where = "" if folder is None else ", or a file in the server's folder of images"
    message = f"{_ADVICE}{where}; this server reads no other files."
    raise ValueError(message)


def _inside(folder: Path, name: str) -> Path | None:
    """The file of this name in the folder; links that lead out of it do not count."""
    try:
        root, file = folder.resolve(), (folder / name).resolve()
        return file if file.is_relative_to(root) and file.is_file() else None
    except (OSError, ValueError):
        return None
