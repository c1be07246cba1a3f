"""Plans that leave padding out: what must change in the memory of a plan when a request has fewer lanes.

Where every attention ignores the positions that an input (the attention mask) calls padding, no lane need
be spent on them. The lanes of a request are then those of its tokens alone, each sequence beginning at a
multiple of sixteen lanes:

    regular   |a a a a a . . . . . . . . .|b b . . . . . . . . . . . .|c c c c c c c c c c c . . .|
    ragged    |a a a a a .|b b .|c c c c c c c c c c c .|  nothing is computed from here on
    map        0 1 2 3 4 ~4 14 15 ~15 ...                   position of each lane; the complement where it repeats one

Steps that work lane by lane just take fewer tiles. Only those that know positions look at the map: embeddings,
attention, rotary angles, rows of the result, lanes taken by their position, and sums over the positions of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.kernels.attention.bf16_tiled import tiled_bf16_kernel
from engine.kernels.attention.rows import ATTENTION
from engine.kernels.embedding.rows import EMBEDDING
from engine.kernels.layout import Lanes
from engine.kernels.movement.rows import MOVEMENT, TAKE, quads_to_rows, to_rows
from engine.kernels.products.arguments import PRODUCT
from engine.kernels.rotary.rows import ROTARY
from engine.kernels.weighted_sum.rows import WEIGHTED_SUM
from engine.plan.steps import Array, Fixed, HostStep, Location, Program, Record, Span, Step

REGULAR, ARRANGED, CHANGING = 0, 1, 2
# Steps that read tokens by the map and write something else than lanes of tokens.
_BY_POSITION = (TAKE, WEIGHTED_SUM)


@dataclass(frozen=True, eq=False, slots=True)
class Take:
    """A step that takes lanes by number: this plan's own table, and the row-major position of each entry."""

    table: Array
    regular: Array
    positions: Array


@dataclass(frozen=True, eq=False, slots=True)
class Ragged:
    """The places to write to when the lanes of a plan are arranged for a request.

    mask       the input that tells tokens from padding, where a request leaves it
    counters   of the table's steps: no claim may be open while `tiles` changes
    lanes      of the tokens, when nothing is left out
    map        int64, a position for each lane;  groups: int64 [vectors][3], first lane, number of keys, sequence
    sequences  int64 [sequences][2], the first two of them
    tiles      of the table, a row a compiled step: per_vector * vectors + per_panel * panels + fixed
    products   records with `panels`, `last_bytes`, `few` and `panel_block`; blocks: the latter of a regular request
    mapped     records with a field `map`;  grouped: with a field `groups`;  summed: with a field `sequences`
    by_place   whether sums over keys, their masks or windows depend on their places, or angles are read sixteen positions
               at a time, so that padding between tokens must be computed
    results    names of the outputs that have a row a position
    state      one of REGULAR (as it was built), ARRANGED, CHANGING (an interrupt may leave it so)
    """

    mask: Array
    counters: Array
    lanes: Lanes
    map: Array
    groups: Array
    sequences: Array
    tiles: Array
    per_vector: Array
    per_panel: Array
    fixed: Array
    products: tuple[Array, ...]
    blocks: tuple[int, ...]
    mapped: tuple[Array, ...]
    grouped: tuple[Array, ...]
    summed: tuple[Array, ...]
    takes: tuple[Take, ...]
    by_place: bool
    results: frozenset[str]
    state: Array


def token_lanes(program: Program) -> Lanes | None:
    """The lanes of the tokens, if this program can leave padding out; else None."""
    if program.padding is None:
        return None
    spans = {step.span for step in _compiled(program) if step.args.dtype == ATTENTION}
    lanes = {None if span is None else span.lanes for span in spans}
    only = lanes.pop() if len(lanes) == 1 else None
    return only if only is not None and only.inner > 1 and _is_lane_by_lane(program, only) else None


def _compiled(program: Program) -> list[Step]:
    return [step for step in program.steps if isinstance(step, Step)]


def _is_lane_by_lane(program: Program, lanes: Lanes) -> bool:
    """Whether nothing reads a token's lane but steps that follow the lanes, or that take some of them."""
    tokens: set[int] = set()
    results: set[int] = set()
    ends = {id(t.location.place) for _, t in program.outputs if t.location is not None}
    for step in program.steps:
        if isinstance(step, HostStep):
            touched = {id(t.location.place) for t in step.inputs if t is not None and t.location is not None}
            if touched & (tokens | results):
                return False
            continue
        reads, writes = {id(b) for b in step.reads}, {id(b) for b in step.writes}
        follows = step.span is not None and step.span.lanes == lanes
        if reads & results or (reads & tokens and not follows and step.args.dtype not in _BY_POSITION):
            return False
        if follows and not _laid(step) <= tokens | writes:
            # An operand whose lanes lie regularly, always: a constant, or what a step without a map wrote.
            return False
        if step.args.dtype == ROTARY and len({place in tokens for place in _angles(step)}) > 1:
            return False
        if follows and step.kernel in (to_rows, quads_to_rows):
            results |= writes
        elif follows:
            tokens |= writes
    return results <= ends


def _laid(step: Step) -> set[int]:
    """Places of the panels that a step reads or writes: operands beside which the record has bytes from panel to panel."""

    def places(record: Record) -> set[int]:
        found: set[int] = set()
        for name, field in record.fields.items():
            if isinstance(field, Record):
                found |= places(field)
            elif isinstance(field, Location) and (f"{name}_panel" in record.fields or name == "panel"):
                found.add(id(field.place))
        return found

    return places(step.args)


def _angles(step: Step) -> tuple[int, int]:
    """Places of the cosines and the sines of a rotary step."""
    cos, sin = (step.args.fields[name] for name in ("cos", "sin"))
    if not isinstance(cos, Location) or not isinstance(sin, Location):
        message = "a rotary step has no angles"
        raise TypeError(message)
    return id(cos.place), id(sin.place)


def ragged(
    program: Program, table: Array, counters: Array, records: Sequence[Array], lanes: Lanes, mask: Array
) -> Ragged:
    """The places of a built plan.

    mask      the array of the input `padding`
    records   args of the compiled steps, in order
    """
    steps = list(zip(_compiled(program), records, strict=True))
    spans = [_span(step, lanes) for step, _ in steps]
    per_vector = np.array([0 if span is None else span.per_vector for span in spans], np.int64)
    per_panel = np.array([0 if span is None else span.per_panel for span in spans], np.int64)
    fixed = np.where(per_vector + per_panel > 0, 0, table["tiles"][: len(steps)])

    def of(kind: np.dtype[np.void]) -> list[Array]:
        return [
            record
            for (step, record), span in zip(steps, spans, strict=True)
            if span and step.args.dtype == kind
        ]

    products = of(PRODUCT)
    written = {id(b) for (step, _), span in zip(steps, spans, strict=True) if span for b in step.writes}
    sums = [record for step, record in steps if _reads_tokens(step, WEIGHTED_SUM, written)]
    # Angles that are computed beside the tokens have their lanes already.
    turns = [
        record for step, record in steps if step.args.dtype == ROTARY and _angles(step)[0] not in written
    ]
    return Ragged(
        mask,
        counters,
        lanes,
        np.zeros(lanes.vectors * 16, np.int64),
        np.zeros((lanes.vectors, 3), np.int64),
        np.zeros((lanes.outer, 2), np.int64),
        table["tiles"][: len(steps)],
        per_vector,
        per_panel,
        fixed,
        tuple(products),
        tuple(int(record["panel_block"][0]) for record in products),
        tuple(of(EMBEDDING) + of(MOVEMENT) + turns + sums),
        tuple(of(ATTENTION)),
        tuple(sums),
        tuple(_take(step, record, lanes) for step, record in steps if _reads_tokens(step, TAKE, written)),
        bool(turns) or any(_is_by_place(step) for step, _ in steps),
        frozenset(name for name, t in program.outputs if t.location and id(t.location.place) in written),
        np.full(1, REGULAR),
    )


def _span(step: Step, lanes: Lanes) -> Span | None:
    return step.span if step.span is not None and step.span.lanes == lanes else None


def _is_by_place(step: Step) -> bool:
    """Whether an attention's lanes of keys must lie as their positions do."""
    fields = step.args.fields if step.args.dtype == ATTENTION else {}
    by_distance = "outside" in fields or "buckets" in fields or fields.get("mask_query", 0) != 0
    return by_distance or step.kernel is tiled_bf16_kernel()


def _reads_tokens(step: Step, kind: np.dtype[np.void], written: set[int]) -> bool:
    return step.args.dtype == kind and any(id(buffer) in written for buffer in step.reads)


def _take(step: Step, record: Array, lanes: Lanes) -> Take:
    """The step's table, copied: what belongs to the program is shared by the plans of all streams."""
    place = step.args.fields["map"]
    if not isinstance(place, Location) or not isinstance(place.place, Fixed):
        message = "a step that takes lanes has no table of its own"
        raise TypeError(message)
    regular = place.place.array
    table = regular.copy()
    record["map"] = table.ctypes.data
    return Take(table, regular, regular // lanes.pitch * lanes.inner + regular % lanes.pitch)
