"""Is the row that the chooser picks the fastest? What `--check` asks of every measured layer."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.bench.kernels.measure import Trial, Typical, times
from engine.calibration.product import Subject
from engine.kernels.cost import Rates
from engine.lowering.choose import choose
from engine.runtime.team import Team

# A pick may be so much slower than the best row.
ALLOWED = 1.10
# What looks slower is timed again so many times as long before it counts.
_LONGER = 4.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The pick for one subject, with the measured and predicted nanoseconds of one core of every row."""

    subject: Subject
    picked: str
    measured: dict[str, float]
    predicted: dict[str, float]

    @property
    def best(self) -> str:
        return min(self.measured, key=lambda family: self.measured[family])

    @property
    def excess(self) -> float:
        """Time of the pick over time of the best row: 1 when they are the same."""
        return self.measured[self.picked] / self.measured[self.best]

    @property
    def is_good(self) -> bool:
        return self.excess <= ALLOWED

    def __str__(self) -> str:
        case = self.subject.case
        rows = ", ".join(
            f"{family} {ns / 1e3:.1f} us (predicted {self.predicted[family] / 1e3:.1f})"
            for family, ns in sorted(self.measured.items(), key=lambda item: item[1])
        )
        zeros = f"{100 * case.zeros:.0f} % zeros ({case.pattern})"
        return (
            f"{case.operand} {case.m} x {case.k}, {case.lanes} lanes, {zeros}: "
            f"{self.picked} is {self.excess:.2f} times the best: {rows}"
        )


def verdicts(work: Sequence[Trial], team: Team, rates: Rates, seconds: float) -> Iterator[Verdict]:
    """A verdict for every subject among the trials of one layer and number of lanes.

    A pick that seems slow is timed once more, by the least of its samples: a busy machine must not condemn it.
    """
    found = list(_judge(work, team, rates, seconds, statistics.median))
    doubtful = {id(verdict.subject.w) for verdict in found if not verdict.is_good}
    if doubtful:
        dense = [trial for trial in work if not trial.row.skips_zeros]
        again = [trial for trial in work if trial.row.skips_zeros and id(trial.subject.w) in doubtful]
        confirmed = {
            id(v.subject.w): v for v in _judge([*dense, *again], team, rates, _LONGER * seconds, min)
        }
        found = [confirmed.get(id(verdict.subject.w), verdict) for verdict in found]
    yield from found


def _judge(
    work: Sequence[Trial], team: Team, rates: Rates, seconds: float, typical: Typical
) -> Iterator[Verdict]:
    taken, _ = times(work, team, seconds, typical)
    dense = {t.row.family: ns for t, ns in zip(work, taken, strict=True) if not t.row.skips_zeros}
    by_weights: dict[int, tuple[Subject, dict[str, float]]] = {}
    for trial, ns in zip(work, taken, strict=True):
        entry = by_weights.setdefault(id(trial.subject.w), (trial.subject, dict(dense)))
        entry[1][trial.row.family] = ns
    for subject, measured in by_weights.values():
        choice = choose(subject.case.operand, subject.shape, None, rates)
        predicted = {choice.row.family: choice.cost_ns, **dict(choice.runners_up)}
        yield Verdict(subject, choice.row.family, measured, predicted)
