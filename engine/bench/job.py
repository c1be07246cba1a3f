"""What is timed: one model under one load, the same for every engine of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engine.api.arguments import UNKNOWN
from engine.api.opening import likely_shape
from engine.errors import OptionError
from engine.frontend import ModelInput
from engine.random_inputs import random_inputs

Array = NDArray[Any]

SEED = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to send requests: its name in results, the engine's scheduler, one caller or several."""

    result_name: str
    scheduler: str
    concurrent: bool


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "sync": Scenario("singlestream", "single_stream", concurrent=False),
        "async": Scenario("multistream", "multi_stream", concurrent=True),
        "elastic": Scenario("elastic", "elastic", concurrent=True),
    }
)


@dataclass(frozen=True, slots=True)
class Job:
    """A model and its load.

    model              as the user wrote it
    path               the file behind it
    names, dtypes      of the inputs, in graph order
    shapes             concrete, batch first
    input_shapes       as parsed from the command, None when not given
    scenario           a key of SCENARIOS
    streams            callers at once
    seconds, warmup_seconds   per engine
    """

    model: str
    path: str
    batch_size: int
    names: tuple[str, ...]
    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    input_shapes: tuple[tuple[int, ...], ...] | None
    cores: int
    scenario: str
    streams: int
    seconds: float
    warmup_seconds: float

    def inputs(self) -> list[Array]:
        """The arrays that every call gets; equal in every process."""
        return random_inputs(self.names, [np.dtype(dtype) for dtype in self.dtypes], self.shapes, SEED)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The job that `as_json` wrote."""

        def frozen(value: Any) -> Any:
            return tuple(map(frozen, value)) if isinstance(value, list) else value

        return cls(**{name: frozen(value) for name, value in values.items()})


def concrete_shapes(
    inputs: Sequence[ModelInput],
    given: Sequence[tuple[int, ...]] | None,
    batch_size: int | None,
) -> tuple[tuple[int, ...], ...]:
    """The shape of every input under this load.

    given       one shape per input, or one for all; None takes the model's own dimensions
    batch_size  replaces every first dimension; None keeps the given one, or makes an open one 1

    Raises OptionError for a count or rank that is not the model's.
    """
    if given is not None and len(given) == 1:
        given = [given[0]] * len(inputs)
    if given is not None and len(given) != len(inputs):
        names = ", ".join(entry.name for entry in inputs)
        message = f"{len(given)} input shapes given, but the model has {len(inputs)} inputs: {names}."
        raise OptionError(message)
    shapes = []
    for index, entry in enumerate(inputs):
        shape = _own_shape(entry) if given is None else tuple(given[index])
        if len(shape) != len(entry.dims):
            message = (
                f"input {entry.name!r} has {len(entry.dims)} dimensions {list(entry.dims)}; "
                f"the shape given for it is {list(shape)}."
            )
            raise OptionError(message)
        shapes.append((batch_size, *shape[1:]) if batch_size is not None and shape else shape)
    return tuple(shapes)


def _own_shape(entry: ModelInput) -> tuple[int, ...]:
    dims = tuple(dim if isinstance(dim, int) and dim > 0 else UNKNOWN for dim in entry.dims)
    return likely_shape(entry, dims)


def has_open_dimensions(inputs: Sequence[ModelInput]) -> bool:
    """Whether some dimension other than the batch is left to the caller."""
    return any(not isinstance(dim, int) or dim <= 0 for entry in inputs for dim in entry.dims[1:])
