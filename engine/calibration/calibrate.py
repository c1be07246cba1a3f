"""The short calibration of this machine: every product row on small layers, and the coefficients that follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from engine.calibration.case import PATTERNS_OF, Case
from engine.calibration.fit import fit
from engine.calibration.product import Subject, timed_product
from engine.calibration.timing import in_turns
from engine.kernels.cost import Coefficients, Rates, Work
from engine.machine.rates import write_rates
from engine.machine.topology import topology
from engine.runtime.team import Team

# Weights within and beyond an L2, wide and deep, few lanes and many: each part of a Work must vary on its own.
SIZES = ((64, 256), (256, 64), (768, 768), (128, 1024), (192, 2304), (1536, 512), (1024, 1536))
# Weights beyond most caches, for dense rows: over few lanes only the memory counts.
LARGE = (3072, 1024)
LANES = (1, 4, 8, 16, 32, 64, 192)
# Sparse rows cost the same from 1 to 16 lanes.
SPARSE_LANES = (16, 32, 64, 192)
ZEROS = (0.5, 0.8, 0.95)
# The least of a few samples is what the machine can do.
_ROUNDS, _CALL_S = 2, 0.002


def calibrate() -> Rates:
    """Measure every product row of the active level on one core and keep the coefficients; takes some seconds."""
    team = Team(topology().cores[:1])
    points: defaultdict[tuple[str, int], list[tuple[Work, float]]] = defaultdict(list)
    for operand, patterns in PATTERNS_OF.items():
        for m, k in (*SIZES, LARGE):
            _measure(team, Case(operand, m, k, LANES[0]), LANES, points)
        for pattern in patterns:
            # Patterns beside the first tell little more of the rows that the first has shown.
            for m, k in SIZES if pattern == patterns[0] else SIZES[::3]:
                for zeros in ZEROS:
                    _measure(team, Case(operand, m, k, LANES[0], zeros, pattern), SPARSE_LANES, points)
    rates: defaultdict[str, dict[int, Coefficients]] = defaultdict(dict)
    for (family, width), seen in sorted(points.items()):
        rates[family][width] = fit([work for work, _ in seen], [ns for _, ns in seen])
    write_rates(rates)
    return rates


def _measure(
    team: Team,
    case: Case,
    lanes: Sequence[int],
    points: defaultdict[tuple[str, int], list[tuple[Work, float]]],
) -> None:
    """Add (work, nanoseconds) by family and panel width: of sparse rows where there are zeros, else of dense ones.

    Rows of other operands that can take the case are measured where it is theirs.
    """
    subject = Subject.of(case)
    for count in lanes:
        at = subject.over(count)
        shape, own = at.shape, [row for row in at.rows("bf16") if row.operand == case.operand]
        rows = [row for row in own if row.skips_zeros is (case.zeros > 0)]
        calls = [timed_product(at, row.family, team).run for row in rows]
        for row, samples in zip(rows, in_turns(calls, _CALL_S * len(calls), _ROUNDS), strict=True):
            points[row.family, shape.lanes.width].append((row.cost.work(shape), 1e9 * min(samples)))


def summary(rates: Rates) -> Sequence[str]:
    """A line for each family and panel width."""
    head = f"{'family':16}{'panel':>6}" + "".join(f"{name + ' ns':>14}" for name in Coefficients._fields)
    return [
        head,
        *(
            f"{family:16}{width:6}" + "".join(f"{value:14.4g}" for value in coefficients)
            for family, widths in rates.items()
            for width, coefficients in sorted(widths.items())
        ),
    ]
