"""The cost model of product kernels: what a product has to do, times what each of it takes.

    nanoseconds = steps * a + groups * b + outputs * c + inputs * d + far_bytes * e

and, over few lanes, what weights from memory take beyond that. The coefficients a .. e belong to a family and a
panel width. They are measured (see engine.calibration); a row carries those of one machine for each level, which
hold where nobody has measured.
Source of the form: tract's cost models (work, tiles, non-negative least squares).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from engine.jit.target import LEVELS, active_level
from engine.kernels.layout import Lanes
from engine.machine.topology import cache_bytes, l2_bytes


class Work(NamedTuple):
    """What a product has to do.

    steps      multiply-adds (or products of quads, or of pairs) by sixteen lanes
    groups     row groups by panel: a sparse form's loop headers, loads and stores of sums
    outputs    rows of the result by sixteen lanes: the epilogue
    inputs     features by sixteen lanes: what has to be brought into the form the kernel reads
    far_bytes  bytes of weights that come from beyond the L2 cache
    memory_bytes  of them, those that come from memory and are waited for
    """

    steps: float
    groups: float
    outputs: float
    inputs: float
    far_bytes: float
    memory_bytes: float = 0.0


class Coefficients(NamedTuple):
    """Nanoseconds of one core for one unit of each part of a Work."""

    steps: float
    groups: float
    outputs: float
    inputs: float
    far_byte: float


# How much dearer a byte is that comes from memory, over few lanes: what L3 gives is fetched behind the arithmetic.
# Measured on Zen 4 over copies of the weights, one after the other: 9.4 MB at one lane took 0.37 to 0.39 ms, where the rate
# within L3 would take 0.13. L3 keeps weights of less than an eighth of its size: a model has others, and so have other
# processes.
MEMORY, CACHED = 10.5, 8

# Nanoseconds for a byte of weights that comes from memory, and the share of a product's own time that hides it. With
# these, over one vector of lanes: dense_f32 of 9.4 MB 881 us (measured 876), csr_f32 895 (905), dense_int8 of 4.2 MB
# 383 (375).
MEMORY_NS, HIDES = 0.042, 0.3

# Measured coefficients by family, then panel width.
Rates = Mapping[str, Mapping[int, Coefficients]]


def predicted_ns(work: Work, coefficients: Coefficients) -> float:
    """Nanoseconds of one core."""
    own = sum(amount * price for amount, price in zip(work, coefficients, strict=False))
    return own + max(0.0, MEMORY_NS * work.memory_bytes - HIDES * own)


def for_level(tables: Mapping[str, Mapping[int, Coefficients]]) -> Mapping[int, Coefficients]:
    """The table of the active level, or of the best lower one that has a table.

    tables   coefficients by panel width, by level; "generic" must be there
    """
    active = active_level()
    names = [level.name for level in LEVELS if level.name in tables and set(level.needs) <= set(active.needs)]
    return tables[names[-1]]


def panels_of_block(panel_bytes: int, l2: int) -> int:
    """Panels that are taken before the next strip of weights: as many as fill half of the L2 cache."""
    return max(1, l2 // 2 // panel_bytes)


def even_block(panels: int, parts: int, most: int) -> int:
    """Panels of a block, at most `most`, such that whole blocks make up each part's share of all panels."""
    share = -(-panels // parts)
    return -(-share // -(-share // most))


def far_bytes(packed_bytes: float, times: int = 1) -> float:
    """Packed weights larger than L2 come from beyond it, so many times."""
    return packed_bytes * times if packed_bytes > l2_bytes() else 0.0


def is_kept(packed_bytes: float) -> bool:
    """Whether L3 keeps so many bytes of weights from request to request."""
    return CACHED * packed_bytes < (cache_bytes(3) or 0)


def streamed_bytes(packed_bytes: float) -> float:
    """The same for rows whose time is that of the stream of weights: what no cache holds counts MEMORY times."""
    return far_bytes(packed_bytes) * (1.0 if is_kept(packed_bytes) else MEMORY)


def _far_bytes(packed_bytes: float, panel_bytes: int, lanes: Lanes) -> float:
    return far_bytes(packed_bytes, -(-lanes.panels // panels_of_block(panel_bytes, l2_bytes())))


def _memory_bytes(packed_bytes: float, lanes: Lanes) -> float:
    """Bytes of weights that are waited for: many lanes of arithmetic hide them."""
    return packed_bytes if lanes.vectors == 1 and not is_kept(packed_bytes) else 0.0


def dense_work(m: int, k: int, lanes: Lanes, k_steps: int, vectors: float) -> Work:
    """The work of a dense form whose step of k is a 32-bit value, over so many vectors of lanes."""
    packed = 4.0 * m * k_steps
    far, waited = _far_bytes(packed, k_steps * lanes.row_bytes, lanes), _memory_bytes(packed, lanes)
    return Work(m * k_steps * vectors, 0, m * vectors, k * vectors, far, waited)


def grouped_work(m: int, k: int, lanes: Lanes, units: float, blocks: int, unit_bytes: float = 8.0) -> Work:
    """The work of a sparse form in row groups of two (products/groups.py).

    units    single weights, quads, pairs or fours that are stored, of so many bytes each
    blocks   blocks of k: a row has a place in a group of each block in which it has a unit
    """
    # Units fall into blocks at random: a share exp(-mean) of rows and blocks has none. Block 0 names every row.
    present = 1 - math.exp(-units / (m * blocks))
    groups = m / 2 * (1 + (blocks - 1) * present)
    far = _far_bytes(unit_bytes * units, k * lanes.row_bytes, lanes)
    waited, vectors = _memory_bytes(unit_bytes * units, lanes), lanes.vectors
    return Work(units * vectors, groups * lanes.panels, m * vectors, k * vectors, far, waited)


def column_block_work(m: int, k: int, lanes: Lanes, alive: float, rows: int) -> Work:
    """The work of a sparse form in blocks of `rows` rows at one k, of which so many are alive."""
    packed = 4.0 * (rows + 1) * alive
    far = streamed_bytes(packed) if lanes.vectors == 1 else _far_bytes(packed, k * lanes.row_bytes, lanes)
    groups = -(-m // rows) * lanes.panels
    return Work(alive * rows * lanes.vectors, groups, m * lanes.vectors, k * lanes.vectors, far)
