"""Is the row that the chooser picks the fastest? What `--check` asks of every measured layer."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from engine.bench.kernels.measure import Trial
from engine.calibration.product import Subject, timed_product
from engine.calibration.timing import in_turns, once
from engine.kernels.cost import Rates, is_kept
from engine.lowering.choose import choose
from engine.machine.topology import cache_bytes, l2_bytes
from engine.plan.build import Plan
from engine.plan.steps import Fixed, Location, Step
from engine.plan.weights import WeightStore
from engine.runtime.team import Team

# A pick may be so much slower than the best row.
ALLOWED = 1.10
# What looks slower is timed again so many times as long before it counts.
_LONGER = 4.0
# A row that takes so many times as long as the best at a glance is not the best.
_CONTENDS = 1.4
_ROUNDS = 3


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


def verdicts(work: Sequence[Trial], team: Team, rates: Rates, seconds: float) -> list[Verdict]:
    """A verdict for every subject among the trials of one layer and number of lanes.

    Rows are looked at once, one plan at a time. Those that could still be the best, or are picked, are then timed in
    turns; a pick that seems slow once more, by the least of its samples: a busy machine must not condemn it.
    """
    taken = [_glance(trial, team) for trial in work]
    found = _judged(work, taken, rates)
    for span, typical in ((seconds, statistics.median), (_LONGER * seconds, min)):
        doubtful = [v for v in found if len(_contenders(v)) > 1 and (span == seconds or not v.is_good)]
        again = _trials_of(work, doubtful)
        if again:
            calls = [_run_of(work[i], team) for i in again]
            for i, samples in zip(again, in_turns(calls, span, _ROUNDS), strict=True):
                taken[i] = 1e9 * typical(samples)
            found = _judged(work, taken, rates)
    return found


def _glance(trial: Trial, team: Team) -> float:
    """Nanoseconds of a call, about."""
    return 1e9 * once(_run_of(trial, team))


def _run_of(trial: Trial, team: Team) -> Callable[[], None]:
    """The trial as a model would run it: over few lanes, weights that no cache keeps come from memory at every call.

    A model has other layers in between. Here the product has copies of its weights, as many as fill the caches twice, and
    takes the next one at every call.
    """
    first = timed_product(trial.subject, trial.row.family, team)
    size = _weight_bytes(first.plan)
    if trial.subject.shape.lanes.vectors > 1 or is_kept(size):
        return first.run
    others = range(2 * (cache_bytes(3) or l2_bytes()) // size)
    copies = [replace(trial.subject, packed=WeightStore()) for _ in others]
    runs = [first.run, *(timed_product(copy, trial.row.family, team).run for copy in copies)]
    turn = itertools.cycle(runs)

    def run() -> None:
        next(turn)()

    return run


def _weight_bytes(plan: Plan) -> int:
    """Bytes of packed weights that the plan's product reads."""
    places = [step.args.fields.get("w") for step in plan.steps if isinstance(step, Step)]
    arrays = [at.place.array for at in places if isinstance(at, Location) and isinstance(at.place, Fixed)]
    return sum(array.nbytes for array in arrays)


def _contenders(verdict: Verdict) -> set[str]:
    """The pick, and the rows that a glance does not rule out."""
    limit = _CONTENDS * verdict.measured[verdict.best]
    return {verdict.picked, *(family for family, ns in verdict.measured.items() if ns <= limit)}


def _trials_of(work: Sequence[Trial], doubtful: Sequence[Verdict]) -> list[int]:
    """The trials that decide these verdicts; a dense row's one trial serves all subjects."""
    wanted = {(family, id(v.subject.w)) for v in doubtful for family in _contenders(v)}
    dense = {family for family, _ in wanted}
    return [
        i
        for i, trial in enumerate(work)
        if (trial.row.family, id(trial.subject.w)) in wanted
        or (not trial.row.skips_zeros and trial.row.family in dense)
    ]


def _judged(work: Sequence[Trial], taken: Sequence[float], rates: Rates) -> list[Verdict]:
    dense = {t.row.family: ns for t, ns in zip(work, taken, strict=True) if not t.row.skips_zeros}
    by_weights: dict[int, tuple[Subject, dict[str, float]]] = {}
    for trial, ns in zip(work, taken, strict=True):
        entry = by_weights.setdefault(id(trial.subject.w), (trial.subject, dict(dense)))
        entry[1][trial.row.family] = ns
    found = []
    for subject, measured in by_weights.values():
        choice = choose(subject.case.operand, subject.shape, None, rates)
        predicted = {choice.row.family: choice.cost_ns, **dict(choice.runners_up)}
        found.append(Verdict(subject, choice.row.family, measured, predicted))
    return found
