"""An engine for rows of several lengths: one with an open axis where the file has one, else one per bucket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Engine, OptionError
from pipelines.engines import EngineArguments, EngineLike, make_engine
from pipelines.lengths import Lengths

Array = NDArray[Any]


class BucketedEngine:
    """Engines of one model for several lengths behind the names of one; each call goes to its length's."""

    def __init__(self, engines: dict[int, EngineLike]) -> None:
        self.engines = engines
        largest = engines[max(engines)]
        self.batch_size = largest.batch_size
        self.input_names: Sequence[str] = largest.input_names
        self.input_shapes = [
            (shape[0], -1, *shape[2:]) if len(shape) > 1 else tuple(shape) for shape in largest.input_shapes
        ]

    def run(self, inp: list[Array]) -> list[Array]:
        return self.engines[inp[0].shape[1]].run(inp)


def engine_of_lengths(engine_type: str, arguments: EngineArguments, lengths: Lengths) -> EngineLike:
    """Compile a model for all buckets, or for any length.

    One engine keeps one plan per length over the same packed weights and the same threads. A file that fixes its
    length gets an engine per bucket.

    Raises OptionError when such a file is asked for rows of any length, and what the engine raises.
    """
    engine = make_engine(engine_type, arguments)
    if any(len(shape) == 2 and shape[1] != -1 for shape in engine.input_shapes):
        if not lengths.buckets:
            message = (
                f"The file {arguments.model} fixes its inputs to {[tuple(s) for s in engine.input_shapes]}; "
                "rows cannot be as long as their text. Give a sequence_length, or buckets."
            )
            raise OptionError(message)
        batch = arguments.batch_size or 1
        return BucketedEngine(
            {
                length: make_engine(engine_type, replace(arguments, input_shapes=[[batch, length]]))
                for length in lengths.buckets
            }
        )
    for length in lengths.buckets:
        _compile_for(engine, length)
    return engine


def _compile_for(engine: EngineLike, length: int) -> None:
    """One run ahead of the first request, so that it finds its length compiled."""
    row = np.ones((engine.batch_size or 1, length), dtype=np.int64)
    engine.run([row.copy() for _ in engine.input_names])


def skips_padding(engine: EngineLike) -> bool:
    """Whether positions that the mask leaves out cost nothing: our engine, where the model allows it."""
    compiled = engine.compiled if isinstance(engine, Engine) else None
    return compiled is not None and compiled.plan.ragged is not None
