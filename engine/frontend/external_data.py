"""Weights that lie in files beside the model: read only from below the model's own folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from onnx import TensorProto

from engine.errors import ModelError
from engine.frontend.mapped import WeightFile, read_weights
from engine.frontend.model import numpy_dtype
from engine.graph import Array


def read_external(
    tensor: TensorProto, folder: Path | None, model: str, files: dict[Path, WeightFile]
) -> Array:
    """The array of a tensor whose bytes are stored outside the model.

    folder  the model's folder, or None for a model given as bytes: it has no files beside it
    files   those read so far; the tensor's is added

    Raises ModelError when the place is outside the folder, is missing or too short.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    where = f"{model}: tensor {tensor.name!r} is stored in {entries.get('location', '')!r}"
    path = _inside(entries.get("location", ""), folder, where)
    dtype = numpy_dtype(tensor.data_type)
    count = int(np.prod(tensor.dims, dtype=np.int64)) if tensor.dims else 1
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", count * dtype.itemsize))
    except ValueError as error:
        message = f"{where} with an offset or length that is no number; export the model again."
        raise ModelError(message) from error
    if path not in files:
        files[path] = read_weights(path)
    content = files[path].content
    available = content.size
    if length != count * dtype.itemsize or offset < 0 or offset + length > available:
        message = (
            f"{where}, too short for {length} bytes at {offset} ({available} bytes); copy the file again."
        )
        raise ModelError(message)
    return content[offset : offset + length].view(dtype).reshape(tuple(tensor.dims))


def _inside(location: str, folder: Path | None, where: str) -> Path:
    if folder is None:
        message = f"{where}, but a model given as bytes has no folder; pass its path."
        raise ModelError(message)
    pure = PurePosixPath(location)
    outside = pure.is_absolute() or PureWindowsPath(location).is_absolute() or ".." in pure.parts
    path = (folder / location).resolve()
    if (
        not location
        or outside
        or ".." in PureWindowsPath(location).parts
        or not path.is_relative_to(folder.resolve())
    ):
        message = (
            f"{where}, which is not below the model's folder; move the file there and name it relatively."
        )
        raise ModelError(message)
    if not path.is_file():
        message = f"{where}, which does not exist; copy it beside the model."
        raise ModelError(message)
    return path
