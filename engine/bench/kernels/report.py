"""Figures as a table, as exported keys, and where sparse rows overtake dense ones."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.bench.kernels.measure import Figure

Line = tuple[str, str, float]


@dataclass(frozen=True, slots=True)
class Crossing:
    """From which share of zeros on a sparse row is faster than the best dense one; None: nowhere measured."""

    family: str
    pattern: str
    operand: str
    m: int
    k: int
    lanes: int
    cores: int
    zeros: float | None


class Cell(NamedTuple):
    """What figures must share to be compared."""

    operand: str
    model: str
    m: int
    k: int
    lanes: int


def cell_of(figure: Figure) -> Cell:
    """Where a figure belongs."""
    return Cell(figure.operand, figure.model, figure.m, figure.k, figure.lanes)


def table(figures: Sequence[Figure]) -> str:
    """One block a layer and number of lanes; one line a row, pattern and share of zeros, for each number of cores."""
    cells: defaultdict[Cell, list[Figure]] = defaultdict(list)
    for figure in figures:
        cells[cell_of(figure)].append(figure)
    return "\n\n".join(_block(cell, inside) for cell, inside in cells.items())


def _block(cell: Cell, figures: Sequence[Figure]) -> str:
    operand, model, m, k, lanes = cell
    cores = sorted({figure.cores for figure in figures})
    # Two where some rows are bound by the tile unit and others by the vector unit.
    peaks = {(figure.cores, f"{figure.peak_gops:.0f}"): None for figure in figures}
    of_cores = {count: " and ".join(peak for at, peak in peaks if at == count) for count in cores}
    peak = ", ".join(f"{of_cores[count]} on {count}" for count in cores)
    lines = [f"{operand}, {model} {m} x {k}, {lanes} lanes; peak G/s: {peak} core(s)"]
    head = f"{'kernel':20}{'pattern':>8}{'zeros':>7}"
    for count in cores:
        head += f" |{f'{count} core us':>11}{'G/s real':>9}{'% peak':>8}{'x dense':>8}"
    lines.append(head + (" | scaling" if len(cores) > 1 else ""))
    rows: defaultdict[Line, dict[int, Figure]] = defaultdict(dict)
    for figure in figures:
        rows[figure.family, figure.pattern, figure.zeros][figure.cores] = figure
    lines += [_line(name, row, cores) for name, row in rows.items()]
    return "\n".join(lines)


def _line(name: Line, row: dict[int, Figure], cores: Sequence[int]) -> str:
    family, pattern, zeros = name
    text = f"{family:20}{pattern:>8}{zeros:7.2f}"
    for count in cores:
        figure = row[count]
        gain = "" if figure.against_dense is None else f"{figure.against_dense:.2f}"
        share = 100 * figure.share_of_peak
        text += f" |{figure.median_ns / 1e3:11.1f}{figure.gops:9.1f}{share:7.1f}%{gain:>8}"
    if len(cores) > 1:
        text += f" |{row[cores[0]].median_ns / row[cores[-1]].median_ns:8.2f}"
    return text


def crossings(figures: Sequence[Figure]) -> list[Crossing]:
    """Where each sparse row overtakes the best dense one: time is taken to be linear between two shares of zeros."""
    return [
        Crossing(family, pattern, operand, m, k, lanes, cores, overtakes(curve))
        for (family, pattern, cores, (operand, _, m, k, lanes)), curve in time_curves(figures).items()
    ]


def time_curves(figures: Sequence[Figure]) -> dict[tuple[str, str, int, Cell], list[tuple[float, float]]]:
    """(zeros, time in units of the best dense row), zeros rising, of each sparse row by family, pattern, cores and cell.

    Weights without zeros are of every pattern.
    """
    curves: defaultdict[tuple[str, str, int, Cell], list[tuple[float, float]]] = defaultdict(list)
    compared = [figure for figure in figures if figure.against_dense is not None]
    for figure in compared:
        if figure.zeros > 0:
            key = figure.family, figure.pattern, figure.cores, cell_of(figure)
            curves[key].append((figure.zeros, 1 / (figure.against_dense or 1)))
    for figure in compared:
        for key, curve in curves.items():
            if figure.zeros == 0 and (figure.family, figure.cores, cell_of(figure)) == (key[0], *key[2:]):
                curve.append((0.0, 1 / (figure.against_dense or 1)))
    return {key: sorted(curve) for key, curve in curves.items() if len(curve) > 1}


def overtakes(curve: Sequence[tuple[float, float]]) -> float | None:
    """The share of zeros from which on the time, in units of the dense one, stays below 1; None when it never is.

    curve   (zeros, time), zeros rising
    """
    if curve[-1][1] >= 1:
        return None
    for (zeros, time), (next_zeros, next_time) in reversed(list(itertools.pairwise(curve))):
        if time >= 1:
            return zeros + (next_zeros - zeros) * (time - 1) / (time - next_time)
    return curve[0][0]


def crossing_table(found: Sequence[Crossing]) -> str:
    """A line for each sparse row and layer."""
    lines = ["from which share of zeros on a sparse row is faster than the best dense one:"]
    for crossing in found:
        place = "nowhere" if crossing.zeros is None else f"{100 * crossing.zeros:.0f} %"
        lines.append(
            f"  {crossing.family:20}{crossing.pattern:>8}  {crossing.operand} {crossing.m} x {crossing.k}, "
            f"{crossing.lanes} lanes, {crossing.cores} core(s): {place}"
        )
    return "\n".join(lines)
