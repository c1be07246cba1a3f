"""What a pipeline asks of an engine, and the table of engines it can be given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

import engine
from engine import Engine, OptionError
from pipelines.names import did_you_mean


class EngineLike(Protocol):
    """All that a pipeline uses of an engine; a stand-in for tests is a class with these four."""

    @property
    def batch_size(self) -> int | None:
        """Rows of every call; None when each call may have its own number."""

    @property
    def input_names(self) -> Sequence[str]:
        """Inputs in the order in which `run` takes them."""

    @property
    def input_shapes(self) -> Sequence[Sequence[int]]:
        """One shape per input; -1 where a call decides."""

    def run(self, inp: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """One array per output, in the model's order. May be called by several threads."""


@dataclass(frozen=True, slots=True)
class EngineArguments:
    """What a model is compiled with; the meanings are those of `engine.Engine`."""

    model: str
    batch_size: int | None = 1
    num_cores: int | None = None
    num_streams: int | None = None
    scheduler: str | None = None
    input_shapes: list[list[int]] | None = None
    context: Any | None = None


EngineFactory = Callable[[EngineArguments], EngineLike]


def _sparselane(arguments: EngineArguments) -> EngineLike:
    if arguments.context is not None:
        return _in_context(arguments)
    return Engine(
        arguments.model,
        batch_size=arguments.batch_size,
        num_cores=arguments.num_cores,
        num_streams=arguments.num_streams,
        scheduler=arguments.scheduler,
        input_shapes=arguments.input_shapes,
    )


def _in_context(arguments: EngineArguments) -> EngineLike:
    """An engine on the threads and streams of a context, which several engines share."""
    context: Any = arguments.context
    cores = getattr(context, "num_cores", None)
    if cores is None:
        message = f"context must be an engine.Context; got {type(context).__name__}."
        raise OptionError(message)
    if arguments.num_cores not in (None, cores):
        message = f"num_cores is {arguments.num_cores}, but the context has {cores}; leave num_cores out."
        raise OptionError(message)
    return engine.MultiModelEngine(
        arguments.model,
        batch_size=arguments.batch_size,
        context=context,
        input_shapes=arguments.input_shapes,
    )


def _onnxruntime(arguments: EngineArguments) -> EngineLike:
    from pipelines.onnxruntime_engine import OnnxRuntimeEngine  # an extra

    return OnnxRuntimeEngine(arguments)


ENGINES: dict[str, EngineFactory] = {
    "engine": _sparselane,
    "deepsparse": _sparselane,
    "onnxruntime": _onnxruntime,
}


def make_engine(engine_type: str, arguments: EngineArguments) -> EngineLike:
    """Compile a model with the engine of this name.

    Raises OptionError for a name that is not in `ENGINES`, and whatever the engine itself raises.
    """
    factory = ENGINES.get(engine_type.lower())
    if factory is None:
        near = did_you_mean(engine_type.lower(), ENGINES)
        message = f'Unknown engine_type "{engine_type}"{near} Known: {", ".join(ENGINES)}.'
        raise OptionError(message)
    return factory(arguments)
