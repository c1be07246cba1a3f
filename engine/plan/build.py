"""A program placed in memory: the plan.

arena      | inputs, outputs, activations, sharing bytes where their lives allow | scratch of each member |
records    args of every step, one after another, addresses filled in
table      one row a compiled step; counters beside it
segments   runs of compiled steps between host steps: each is one request to the team
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.errors import InternalError
from engine.jit import Kernel
from engine.kernels.row import aligned
from engine.plan.arena import buffers_of, lives, place, waits
from engine.plan.ragged import Ragged, ragged, token_lanes
from engine.plan.steps import Array, Fixed, HostStep, Layer, Location, Program, Record, Step, Tensor
from engine.plan.table import COUNTER, REQUEST_WORDS, STEP


@dataclass(frozen=True, slots=True)
class Segment:
    """Compiled steps first .. last - 1 of the table, and the request that runs them."""

    first: int
    last: int
    request: Array
    address: int


@dataclass(frozen=True, slots=True)
class HostCall:
    """A host step with its arrays: views of the arena, or keys of values that live in Python only."""

    step: HostStep
    inputs: tuple[Array | Tensor | None, ...]
    outputs: tuple[Array | Tensor, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """Everything a request needs; holds all memory that its addresses point to.

    batch   items of a request, where inputs and outputs are those of a part of them: the plan is run part by part; else 0
    """

    inputs: tuple[tuple[str, Array], ...]
    outputs: tuple[tuple[str, Array | Tensor], ...]
    stages: tuple[Segment | HostCall, ...]
    layers: tuple[Layer, ...]
    steps: tuple[Step | HostStep, ...]
    arena_bytes: int
    ragged: Ragged | None
    batch: int
    fault: Array
    table: Array
    counters: Array
    memory: tuple[Any, ...]

    @property
    def starts(self) -> tuple[int, ...]:
        """First item of each part; the last one ends with the batch, and may repeat items of the one before."""
        if not self.batch:
            return (0,)
        items = len(self.inputs[0][1])
        return tuple(min(start, self.batch - items) for start in range(0, self.batch, items))


class _Memory:
    """Addresses of locations, and records written with them."""

    def __init__(self, program: Program, members: int, waiting: list[bool]) -> None:
        buffers = buffers_of(_locations(program))
        offsets, self.arena_bytes = place(buffers, lives(program, waiting))
        self.scratch_bytes = (
            max((s.scratch for s in program.steps if isinstance(s, Step)), default=0) // 64 * 64 + 128
        )
        self.arena = aligned(self.arena_bytes + members * self.scratch_bytes, np.uint8)
        self.base = int(self.arena.ctypes.data)
        self._offsets = offsets
        self.records: list[Array] = []

    @property
    def scratch(self) -> int:
        return self.base + self.arena_bytes

    def address(self, location: Location) -> int:
        if isinstance(location.place, Fixed):
            return int(location.place.array.ctypes.data) + location.offset
        return self.base + self._offsets[id(location.place)] + location.offset

    def view(self, tensor: Tensor) -> Array:
        """The tensor's bytes as an array."""
        if tensor.location is None or tensor.shape is None:
            message = "a value without a place in memory was asked for as an array"
            raise InternalError(message)
        if isinstance(tensor.location.place, Fixed):
            raw = tensor.location.place.array.reshape(-1).view(np.uint8)
            start = tensor.location.offset
        else:
            raw, start = self.arena, self._offsets[id(tensor.location.place)] + tensor.location.offset
        size = int(np.prod(tensor.shape)) * tensor.dtype.itemsize
        return raw[start : start + size].view(tensor.dtype).reshape(tensor.shape)

    def write(self, record: Record) -> int:
        """Address of the record, its fields filled in."""
        made = aligned(1, record.dtype)
        for name, value in record.fields.items():
            if isinstance(value, Record):
                made[name] = self.write(value)
            elif isinstance(value, Kernel):
                made[name] = value.address
            else:
                made[name] = self.address(value) if isinstance(value, Location) else value
        self.records.append(made)
        return int(made.ctypes.data)


def _record_locations(record: Record) -> Iterator[Location]:
    for value in record.fields.values():
        if isinstance(value, Location):
            yield value
        elif isinstance(value, Record):
            yield from _record_locations(value)


def _locations(program: Program) -> Iterator[Location]:
    yield program.fault
    for _, tensor in (*program.inputs, *program.outputs):
        if tensor.location is not None:
            yield tensor.location
    for step in program.steps:
        if isinstance(step, Step):
            yield from _record_locations(step.args)
            yield from (Location(buffer) for buffer in (*step.reads, *step.writes))
        else:
            tensors = [t for t in (*step.inputs, *step.outputs) if t is not None]
            yield from (t.location for t in tensors if t.location is not None)


def _table(program: Program, memory: _Memory, waiting: list[bool]) -> tuple[Array, list[Array]]:
    """One row a compiled step, in order, and its record."""
    records: list[Array] = []
    compiled = [(s, w) for s, w in zip(program.steps, waiting, strict=True) if isinstance(s, Step)]
    table = aligned(max(len(compiled), 1), STEP)
    barrier = 0
    for row, (step, wait) in enumerate(compiled):
        table[row]["kernel"], table[row]["args"] = step.kernel.address, memory.write(step.args)
        records.append(memory.records[-1])
        table[row]["tiles"], table[row]["grain"] = step.tiles, max(1, step.grain)
        table[row]["wait_from"] = barrier if wait else -1
        barrier = row if wait else barrier
    return table, records


def _stages(
    steps: Sequence[Step | HostStep], memory: _Memory, table: Array, counters: Array
) -> Iterator[Segment | HostCall]:
    first = row = 0
    for step in [*steps, None]:
        if isinstance(step, Step):
            row += 1
            continue
        if row > first:
            yield _segment(first, row, memory, table, counters)
        first = row
        if step is not None:
            yield HostCall(
                step, tuple(map(_seen(memory), step.inputs)), tuple(map(_seen(memory), step.outputs))
            )


def _segment(first: int, last: int, memory: _Memory, table: Array, counters: Array) -> Segment:
    # Steps before the segment are finished when it begins, so no step of it waits further back.
    rows = table[first:last]
    rows["wait_from"] = np.where(rows["wait_from"] >= 0, np.maximum(rows["wait_from"], first), -1)
    rows["wait_from"][0] = -1
    request = aligned(REQUEST_WORDS, np.int64)
    request[:] = (table.ctypes.data, counters.ctypes.data, memory.scratch, memory.scratch_bytes, first, last)
    return Segment(first, last, request, int(request.ctypes.data))


def _seen(memory: _Memory) -> Any:
    def seen(tensor: Tensor | None) -> Array | Tensor | None:
        return memory.view(tensor) if tensor is not None and tensor.location is not None else tensor

    return seen


def _ragged(
    program: Program, inputs: list[Array], table: Array, counters: Array, records: list[Array]
) -> Ragged | None:
    lanes = token_lanes(program)
    if lanes is None:
        return None
    mask = next(
        place for (name, _), place in zip(program.inputs, inputs, strict=True) if name == program.padding
    )
    return ragged(program, table, counters, records, lanes, mask)


def build(program: Program, members: int) -> Plan:
    """Place a program in memory for a team of so many members; compiles the kernels it names."""
    waiting = waits(program.steps)
    memory = _Memory(program, members, waiting)
    table, records = _table(program, memory, waiting)
    counters = aligned(max(len(table), 1), COUNTER)
    stages = tuple(_stages(program.steps, memory, table, counters))
    fault = memory.view(Tensor(np.dtype(np.int64), (1,), program.fault))
    seen, inputs = _seen(memory), [memory.view(tensor) for _, tensor in program.inputs]
    return Plan(
        ragged=_ragged(program, inputs, table, counters, records),
        inputs=tuple(zip((name for name, _ in program.inputs), inputs, strict=True)),
        outputs=tuple((name, seen(tensor)) for name, tensor in program.outputs),
        stages=stages,
        layers=tuple(step.layer for step in program.steps),
        steps=program.steps,
        arena_bytes=memory.arena_bytes,
        batch=program.batch,
        fault=fault,
        table=table,
        counters=counters,
        memory=(memory.arena, memory.records),
    )
