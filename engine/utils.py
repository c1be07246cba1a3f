"""The predecessor's helpers, by its names."""

from __future__ import annotations

import os
from typing import Any

from engine.api.arguments import UNKNOWN
from engine.api.batches import join_engine_outputs, split_engine_inputs
from engine.api.model import MODEL_ONNX_NAME, model_to_path
from engine.api.opening import likely_shape
from engine.frontend import open_model
from engine.kernels.row import Array
from engine.random_inputs import random_inputs

__all__ = [
    "MODEL_ONNX_NAME",
    "generate_random_inputs",
    "join_engine_outputs",
    "model_to_path",
    "split_engine_inputs",
]


def generate_random_inputs(
    onnx_filepath: str | os.PathLike[str] | Any, batch_size: int | None = None, seed: int | None = None
) -> list[Array]:
    """Inputs that the model can work with, in its order: token ids in range, masks of ones, floats in [0, 1).

    onnx_filepath  anything `model_to_path` takes, bytes, or a ModelProto
    batch_size     dimension 0 of every input; None keeps the file's, 1 where it says nothing
    seed           equal seeds give equal inputs

    Open dimensions get likely sizes (128 tokens, 224 pixels). Raises ModelError as opening the model does.
    """
    given: Any = (
        onnx_filepath
        if isinstance(onnx_filepath, bytes) or hasattr(onnx_filepath, "graph")
        else model_to_path(onnx_filepath)
    )
    model = open_model(given)
    shapes = []
    for entry in model.inputs:
        dims = tuple(size if isinstance(size, int) else UNKNOWN for size in entry.dims)
        shapes.append(likely_shape(entry, (batch_size, *dims[1:]) if batch_size and dims else dims))
    return random_inputs(model.input_names, [entry.dtype for entry in model.inputs], shapes, seed)
