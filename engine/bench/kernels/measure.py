"""Figures of every product row on one layer: all rows, all shares of zeros and the peak loop, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.bench.kernels.layers import Layer
from engine.calibration.case import PATTERNS_OF, Case
from engine.calibration.product import (
    Subject,
    own_peak_of,
    peak_of,
    peak_operations,
    timed_peak,
    timed_product,
)
from engine.calibration.timing import in_turns
from engine.kernels.row import ProductRow, ProductShape
from engine.runtime.team import Team

# Seconds for all calls of one layer, lanes and number of cores, where five rounds take less.
LAYER_S = 1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One row on one subject."""

    row: ProductRow
    subject: Subject


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured of one row.

    gops             real operations a nanosecond: 2 for each nonzero and lane
    share_of_peak    of the register loop timed in the same turns, on as many cores
    against_dense    time of the best dense row over this one's; None where no dense row was measured
    """

    family: str
    operand: str
    model: str
    m: int
    k: int
    lanes: int
    zeros: float
    pattern: str
    cores: int
    median_ns: float
    gops: float
    peak_gops: float
    share_of_peak: float
    against_dense: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def subjects(layer: Layer, operand: str, zeros: Sequence[float]) -> list[Subject]:
    """The layer's weights in every pattern with every share of zeros; those without zeros once."""
    cases = [
        Case(operand, layer.m, layer.k, layer.lanes[0], share, pattern)
        for pattern in PATTERNS_OF[operand]
        for share in zeros
        if share > 0
    ]
    return [Subject.of(case) for case in (Case(operand, layer.m, layer.k, layer.lanes[0]), *cases)]


def trials(
    wanted: Sequence[Subject], lanes: int, families: Sequence[str], *, precision: str = "bf16"
) -> list[Trial]:
    """Rows by subjects: sparse rows on all of them, dense ones on weights without zeros only (they take as long).

    families    names of rows; none: all
    precision   "bf16" admits rows that round their operands
    """
    found = []
    for base in wanted:
        subject = base.over(lanes)
        shape = subject.shape
        for row in subject.rows(precision):
            is_named = not families or row.family in families or not row.skips_zeros
            is_compared = PATTERNS_OF[base.case.operand] if row.skips_zeros else base.case.zeros == 0
            if is_named and row.suits(shape) and is_compared:
                found.append(Trial(row, subject))
    return found


def times(work: Sequence[Trial], team: Team, seconds: float) -> tuple[list[float], list[float]]:
    """(median nanoseconds of each trial, operations a nanosecond of each trial's peak loop in the same turns)."""
    peaks = [own_peak_of(trial.row.family) or peak_of(trial.row.operand) for trial in work]
    loops = list({peak.kernel.name: peak for peak in peaks}.values())
    calls = [timed_peak(peak, team).run for peak in loops]
    calls += [timed_product(trial.subject, trial.row.family, team).run for trial in work]
    taken = [1e9 * statistics.median(samples) for samples in in_turns(calls, seconds)]
    rates = {
        peak.kernel.name: peak_operations(peak, team) / ns for peak, ns in zip(loops, taken, strict=False)
    }
    return taken[len(loops) :], [rates[peak.kernel.name] for peak in peaks]


def figures(layer: Layer, work: Sequence[Trial], team: Team, seconds: float = LAYER_S) -> Iterator[Figure]:
    """Measure the trials of one layer and number of lanes."""
    taken, peaks = times(work, team, seconds)
    dense = [
        ns
        for trial, ns in zip(work, taken, strict=True)
        if not trial.row.skips_zeros and trial.row.precision == "f32"
    ]
    for trial, ns, peak in zip(work, taken, peaks, strict=True):
        case, shape = trial.subject.case, trial.subject.shape
        gops = operations(trial.row, shape, case.lanes) / ns
        yield Figure(
            trial.row.family,
            case.operand,
            layer.model,
            layer.m,
            layer.k,
            case.lanes,
            case.zeros,
            case.pattern,
            len(team.cores),
            ns,
            gops,
            peak,
            gops / peak,
            min(dense) / ns if dense else None,
        )


def operations(row: ProductRow, shape: ProductShape, lanes: int) -> float:
    """Two for each lane and each weight that the row does not skip."""
    return 2.0 * lanes * (shape.nonzeros if row.skips_zeros else shape.m * shape.k)
