"""Where each buffer lies: one arena, in which buffers that are never alive together share bytes.

Life is counted in phases: a phase is what lies between two barriers, since steps of one phase may run
at the same time. A buffer lives from the phase that writes it to the last that reads it.

    offset ^   | A A A A |         | D D |
           |   | B B | C C C C C C C |         largest first, each at the lowest offset that is free
           +---+---------------------+-----> phase      through all of its life
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.plan.steps import Buffer, HostStep, Location, Program, Step

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Life:
    """First and last phase of a buffer, both included."""

    first: int
    last: int


def waits(steps: tuple[Step | HostStep, ...]) -> list[bool]:
    """For each step whether it must wait for all steps before it.

    It must when it reads or overwrites what a step of the running phase writes, or overwrites what one reads.
    A host step always waits, and so does the step after it.
    """
    result: list[bool] = []
    written: set[int] = set()
    read: set[int] = set()
    for i, step in enumerate(steps):
        reads, writes = touched(step)
        after_host = i > 0 and isinstance(steps[i - 1], HostStep)
        wait = isinstance(step, HostStep) or after_host or bool((reads | writes) & written or writes & read)
        if wait:
            written, read = set(), set()
        written |= writes
        read |= reads
        result.append(wait)
    return result


def touched(step: Step | HostStep) -> tuple[set[int], set[int]]:
    """Identities of the buffers a step reads and writes."""
    if isinstance(step, Step):
        return {id(b) for b in step.reads}, {id(b) for b in step.writes}
    inputs = {id(t.location.place) for t in step.inputs if t is not None and t.location is not None}
    outputs = {id(t.location.place) for t in step.outputs if t.location is not None}
    return inputs, outputs


FOREVER = 1 << 60
_ALWAYS = Life(0, FOREVER)
# How much larger than the smallest arena one may be whose buffers keep to places of their size.
SLOT_LIMIT = 2.0


def lives(program: Program, waiting: list[bool]) -> dict[int, Life]:
    """The life of every buffer that a step touches, by identity; outputs live on to the end."""
    found: dict[int, Life] = {}
    phase = 0
    for step, wait in zip(program.steps, waiting, strict=True):
        phase += wait
        reads, writes = touched(step)
        for buffer in reads | writes:
            known = found.get(buffer)
            found[buffer] = Life(phase if known is None else known.first, phase)
    for _, tensor in program.outputs:
        buffer = id(tensor.location.place) if tensor.location is not None else 0
        if buffer in found:
            found[buffer] = Life(found[buffer].first, FOREVER)
    return found


def place(buffers: Iterable[Buffer], life: dict[int, Life]) -> tuple[dict[int, int], int]:
    """(offset by identity, bytes of the arena). Buffers nobody touches, and permanent ones, live throughout.

    Buffers of one size share places of their own, so that a core finds its part of the lanes in the same bytes
    step after step, and writes nothing that lies in another core's cache; unless that takes far more memory.
    """
    spans = [(b, _ALWAYS if b.permanent else life.get(id(b), _ALWAYS)) for b in buffers]
    packed = _place_packed(spans)
    slots = _place_in_slots(spans)
    return slots if slots[1] <= SLOT_LIMIT * packed[1] else packed


def _rounded_size(buffer: Buffer) -> int:
    return -(-max(buffer.size, 1) // ALIGNMENT) * ALIGNMENT


def _place_in_slots(spans: list[tuple[Buffer, Life]]) -> tuple[dict[int, int], int]:
    """Each buffer in a slot of its own size: the free one that was used last, as it is the warmest."""
    slots: dict[int, list[tuple[int, int]]] = {}
    offsets: dict[int, int] = {}
    total = 0
    for buffer, span in sorted(spans, key=lambda item: item[1].first):
        size = _rounded_size(buffer)
        free = [slot for slot in slots.setdefault(size, []) if slot[0] < span.first]
        if free:
            slots[size].remove(max(free))
        else:
            total += size
        offset = max(free)[1] if free else total - size
        slots[size].append((span.last, offset))
        offsets[id(buffer)] = offset
    return offsets, total


def _place_packed(spans: list[tuple[Buffer, Life]]) -> tuple[dict[int, int], int]:
    """Largest first, each at the lowest offset that is free through all of its life."""
    placed: list[tuple[int, int, Life]] = []
    offsets: dict[int, int] = {}
    for buffer, span in sorted(spans, key=lambda item: -item[0].size):
        size, offset = _rounded_size(buffer), 0
        for begin, end, other in sorted(placed, key=lambda item: item[0]):
            if other.last < span.first or span.last < other.first:
                continue
            if offset + size <= begin:
                break
            offset = max(offset, end)
        offsets[id(buffer)] = offset
        placed.append((offset, offset + size, span))
    return offsets, max((end for _, end, _ in placed), default=0)


def buffers_of(program_locations: Iterable[Location]) -> list[Buffer]:
    """The distinct buffers behind these locations."""
    found = {id(at.place): at.place for at in program_locations if isinstance(at.place, Buffer)}
    return list(found.values())
