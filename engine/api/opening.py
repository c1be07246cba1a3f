"""From what a user names to a model that is ready to compile."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.api.arguments import UNKNOWN, Dims, log
from engine.api.model import model_to_path
from engine.api.placement import Placement, SharedModel, new_stores
from engine.frontend import Model, ModelInput, open_model

# Sizes to compile for ahead of the first request, where the file leaves a dimension open.
LIKELY_SEQUENCE, LIKELY_PIXELS = 128, 224


def source_path(model: Any) -> str:
    """The model's file, or "" for a model that is its own source."""
    if isinstance(model, bytes) or hasattr(model, "SerializeToString"):
        return ""
    return model_to_path(model)


def open_shared(path: str, model: Any, placement: Placement) -> SharedModel:
    """The model, parsed; the same one again where engines of a context have it open."""
    if placement.models is None or placement.opening is None:
        return SharedModel(open_model(path or model), new_stores(placement.streams))
    with placement.opening:
        key = _identity(path, model)
        found = placement.models.get(key)
        if found is None:
            found = SharedModel(open_model(path or model), new_stores(placement.streams))
            placement.models[key] = found
        return found


def _identity(path: str, model: Any) -> object:
    """What two openings of the same content have in common."""
    if path:
        status = Path(path).stat()
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return hashlib.blake2b(content, digest_size=16).digest()


def with_shape(entry: ModelInput, shape: Dims) -> ModelInput:
    """The input with its dimensions overridden; open ones keep the file's symbols."""
    dims = (kept if size == UNKNOWN else size for size, kept in zip(shape, entry.dims, strict=True))
    return replace(entry, dims=tuple(dims))


def without_weights(model: Model) -> Model:
    """What a closed engine still tells of its model."""
    return replace(model, body=replace(model.body, operations=(), constants={}), memo={})


def batch_of(batch: int | None, shapes: list[Dims] | None) -> int | None:
    """The batch size; whole shapes win over the default of 1."""
    if shapes is None or batch is None or not shapes[0]:
        return batch
    if batch == 1 and shapes[0][0] != 1:
        return shapes[0][0]
    if shapes[0][0] != batch:
        log.warning("input_shapes has batch %d; batch_size=%d wins", shapes[0][0], batch)
    return batch


def likely_shape(entry: ModelInput, shape: Dims) -> Dims:
    """A shape with open dimensions filled in: token sequences, images, else 1."""
    tokens = LIKELY_SEQUENCE if np.issubdtype(entry.dtype, np.integer) else 1
    filler = LIKELY_PIXELS if len(shape) == 4 else tokens
    return tuple(size if size != UNKNOWN else (1 if axis == 0 else filler) for axis, size in enumerate(shape))
