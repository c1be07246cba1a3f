"""Arranging the lanes of a plan for a request: those of its tokens alone, or all."""

from __future__ import annotations

import numpy as np

from engine.jit import compiled
from engine.kernels.cost import even_block
from engine.kernels.layout import VECTOR_LANES, WIDTHS
from engine.machine.atomics import store_word
from engine.plan.ragged import ARRANGED, CHANGING, REGULAR, Ragged
from engine.plan.steps import Array
from engine.plan.table import CLAIMS, MOST_PARTS, ROW


def arrange(plan: Ragged, parts: int) -> Array | None:
    """Leave the padding of this request out, where that is possible; else see that the plan is a regular one.

    The plan's mask is 1 for a token, 0 for padding; anything else leaves all lanes in, and so does a sequence
    without a token, or one whose token at a position that the model looks at is padding. Where sums over keys go by
    their places, so does padding before a token.

    parts   of the team: lanes are shared out evenly

    Returns the row-major positions that are computed; None for all.
    """
    kept = plan.mask.reshape(plan.lanes.outer, plan.lanes.inner) != 0
    if kept.all() or not _fits(plan, kept, plan.mask):
        _regular(plan)
        return None
    positions = np.flatnonzero(kept)
    before, plan.state[0] = int(plan.state[0]), CHANGING
    vectors = _lay_out(plan, kept, positions)
    panels = -(-vectors * VECTOR_LANES // plan.lanes.width)
    _set_tiles(plan, vectors, panels)
    for record, block in zip(plan.products, plan.blocks, strict=True):
        record["panels"], record["panel_block"] = panels, even_block(panels, parts, block)
        record["last_bytes"] = 4 * (vectors * VECTOR_LANES - (panels - 1) * plan.lanes.width)
        record["few"] = 0
    if before != ARRANGED:
        _point(plan, plan.map.ctypes.data, plan.groups.ctypes.data, plan.sequences.ctypes.data)
    plan.state[0] = ARRANGED
    return positions


def narrow_width(plan: Ragged, mask: Array) -> int | None:
    """Lanes of a panel that holds all tokens of a request with this mask, if narrower ones do than the plan's."""
    width = plan.lanes.width
    # Counting comes first: it is all that most requests pay.
    if np.count_nonzero(mask) > width - VECTOR_LANES:
        return None
    kept = mask.reshape(plan.lanes.outer, plan.lanes.inner) != 0
    used = used_lanes(mask)
    narrow = next(fitting for fitting in WIDTHS if used <= fitting or fitting == WIDTHS[-1])
    return narrow if narrow < width and _fits(plan, kept, mask) else None


def used_lanes(mask: Array) -> int:
    """Lanes that the tokens of a mask [b, t] take: of each sequence whole vectors."""
    return VECTOR_LANES * int((-(-np.count_nonzero(mask, axis=1) // VECTOR_LANES)).sum())


def rows_of(plan: Ragged, result: Array, positions: Array) -> Array:
    """The result, with a row a position, at these positions, and zero elsewhere; a new array."""
    whole = np.zeros_like(result)
    rows = plan.lanes.outer * plan.lanes.inner
    whole.reshape(rows, -1)[positions] = result.reshape(rows, -1)[positions]
    return whole


def _fits(plan: Ragged, kept: Array, mask: Array) -> bool:
    if plan.by_place and (kept[:, 1:] > kept[:, :-1]).any():
        return False
    looked_at = all(kept.reshape(-1)[take.positions].all() for take in plan.takes)
    return bool(kept.any(axis=1).all() and looked_at and ((mask == 1).reshape(kept.shape) == kept).all())


def _lay_out(plan: Ragged, kept: Array, positions: Array) -> int:
    """Fill the map, the groups and the tables of lanes; returns the vectors in use."""
    lengths = kept.sum(axis=1)
    groups = -(-lengths // VECTOR_LANES)
    first_lane = (np.cumsum(groups) - groups) * VECTOR_LANES
    ends = np.cumsum(lengths)
    rank = np.arange(positions.size) - np.repeat(ends - lengths, lengths)
    lane = np.repeat(first_lane, lengths) + rank
    vectors = int(groups.sum())
    plan.map[: vectors * VECTOR_LANES] = np.repeat(~positions[ends - 1], groups * VECTOR_LANES)
    plan.map[lane] = positions
    plan.sequences[:, 0], plan.sequences[:, 1] = first_lane, lengths
    plan.groups[:vectors, :2] = np.repeat(plan.sequences, groups, axis=0)
    plan.groups[:vectors, 2] = np.repeat(np.arange(groups.size), groups)
    # Of the last panel a step may look at more vectors: without keys.
    plan.groups[vectors:] = 0
    if plan.takes:
        lane_of = np.zeros(kept.size, np.int64)
        lane_of[positions] = lane
        for take in plan.takes:
            take.table[:] = lane_of[take.positions]
    return vectors


def _regular(plan: Ragged) -> None:
    if plan.state[0] == REGULAR:
        return
    plan.state[0] = CHANGING
    _set_tiles(plan, plan.lanes.vectors, plan.lanes.panels)
    for record, block in zip(plan.products, plan.blocks, strict=True):
        record["panels"], record["panel_block"] = plan.lanes.panels, block
        record["last_bytes"], record["few"] = plan.lanes.last_bytes, plan.lanes.few
    for take in plan.takes:
        take.table[:] = take.regular
    _point(plan, 0, 0, 0)
    plan.state[0] = REGULAR


@compiled("i64", "i64")
def _close(counters: int, steps: int) -> int:
    """Let nobody take a tile of the last request any more."""
    for step in range(steps):
        for part in range(MOST_PARTS):
            store_word(0, counters + step * ROW + CLAIMS + 8 * part)
    return 0


def _set_tiles(plan: Ragged, vectors: int, panels: int) -> None:
    """How many tiles each step has.

    A member that overslept the end of the last request may still look for tiles of it: with more of them than before
    it would find some. So claims are closed first; the next request opens them as its own.
    """
    _close(plan.counters.ctypes.data, plan.tiles.size)
    plan.tiles[:] = plan.per_vector * vectors + plan.per_panel * panels + plan.fixed


def _point(plan: Ragged, lane_map: int, groups: int, sequences: int) -> None:
    for record in plan.mapped:
        record["map"] = lane_map
    for record in plan.grouped:
        record["groups"] = groups
    for record in plan.summed:
        record["sequences"] = sequences
