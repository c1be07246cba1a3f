"""What a plan is made of: places in memory, compiled steps, host steps.

Buffer      bytes of the arena, alive from the step that writes it to the last that reads it
Fixed       an array that outlives the plan: packed weights, constants
Location    a byte offset into either
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.jit import Kernel
from engine.kernels.layout import VECTOR_LANES, Lanes

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, slots=True)
class Buffer:
    """Memory that the arena will hold; identity is what counts.

    permanent   keeps its place for the whole plan (inputs, outputs, the fault word)
    """

    size: int
    permanent: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Fixed:
    """An array whose address never changes; 64-byte aligned where a kernel wants it so."""

    array: Array


@dataclass(frozen=True, slots=True)
class Location:
    """Bytes `offset` and on of a buffer or a fixed array."""

    place: Buffer | Fixed
    offset: int = 0

    def shifted(self, offset: int) -> Location:
        return Location(self.place, self.offset + offset)


@dataclass(frozen=True, eq=False, slots=True)
class Tensor:
    """A row-major array at a location; or, without one, a value that only host steps see."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None
    location: Location | None


@dataclass(frozen=True, slots=True)
class Layer:
    """What explain and profiles say of a step.

    runners_up     other families with their predicted nanoseconds of one core, fastest first
    predicted_ns   the same of the kernel taken; None where there was no choice
    """

    name: str
    op: str
    kernel: str
    nodes: int = 1
    sparsity: float | None = None
    reason: str = ""
    runners_up: tuple[tuple[str, float], ...] = ()
    predicted_ns: float | None = None


Field = int | float | Location


@dataclass(frozen=True, eq=False, slots=True)
class Record:
    """An args record before its addresses are known; a field may be a location, another record, or a kernel."""

    dtype: np.dtype[Any]
    fields: Mapping[str, Field | Record | Kernel]


@dataclass(frozen=True, slots=True)
class Span:
    """How the tiles of a step follow the lanes it works on: panel by panel, or sixteen lanes by sixteen.

    Its first tiles are those of the first lanes, so that a request with fewer lanes takes fewer tiles.
    """

    lanes: Lanes
    per_panel: int = 0
    per_vector: int = 0

    @property
    def of_one_panel(self) -> int:
        """Tiles of a panel that is full."""
        return self.per_panel + self.per_vector * self.lanes.width // VECTOR_LANES


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """One compiled step.

    grain    tiles taken at once
    scratch  bytes each member of the team needs
    span     how its tiles follow the lanes; None where nothing is known
    """

    layer: Layer
    kernel: Kernel
    args: Record
    tiles: int
    grain: int = 1
    scratch: int = 0
    reads: Sequence[Buffer] = ()
    writes: Sequence[Buffer] = ()
    span: Span | None = None


@dataclass(frozen=True, eq=False, slots=True)
class HostStep:
    """A step that runs in Python: an operator without a kernel."""

    layer: Layer
    run: Callable[[list[Array | None]], Sequence[Array]]
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A model ready to be placed in memory.

    padding   the input whose zeros say which positions are padding, where every attention leaves those out
    batch     items of a request, where the inputs are those of a part of them; else 0
    """

    inputs: tuple[tuple[str, Tensor], ...]
    outputs: tuple[tuple[str, Tensor], ...]
    steps: tuple[Step | HostStep, ...]
    fault: Location
    padding: str | None = None
    batch: int = 0
