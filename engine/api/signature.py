"""What a model takes and gives, as its file declares it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.api.arguments import UNKNOWN
from engine.api.engine import Engine
from engine.frontend import ModelFacts

Sizes = tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output; a size is a number, a symbol's name, or None where the file says nothing."""

    name: str
    dtype: np.dtype[Any]
    dims: Sizes


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs in the file's order, and what the file says of itself."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    facts: ModelFacts


def signature(engine: Engine) -> Signature:
    """The signature of an engine's model; sizes that the engine fixed are numbers."""
    model = engine._model  # noqa: SLF001 - of one room
    graph = None if engine.compiled is None else engine.compiled.graph
    found = [None] * len(engine.output_names) if graph is None else [v.type.dtype for v in graph.outputs]
    declared = {entry.name: entry for entry in model.outputs}
    outputs = []
    for name, shape, computed in zip(engine.output_names, engine.output_shapes, found, strict=True):
        entry = declared[name]
        seen = tuple(None if size == UNKNOWN else size for size in shape)
        dtype = entry.dtype or computed or np.dtype(np.float32)
        outputs.append(Value(name, dtype, seen if entry.dims is None else entry.dims))
    inputs = tuple(Value(entry.name, entry.dtype, entry.dims) for entry in model.inputs)
    return Signature(inputs, tuple(outputs), model.facts)
