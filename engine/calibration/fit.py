"""Coefficients of the cost model from measured times: non-negative least squares of the relative error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from engine.kernels.cost import Coefficients, Work

# Times further off than so many typical errors, and more than this share, were somebody else's doing.
_OUTLIER, _SHARE = 3.0, 0.02


def fit(works: Sequence[Work], times_ns: Sequence[float]) -> Coefficients:
    """The coefficients that predict these times best, relative to each time.

    What a call costs whatever its work (the way in and out of compiled code) is fitted too and left out.
    Points that do not fit are dropped once: another process had the core.
    """
    priced = len(Coefficients._fields)
    counts = np.array([[*work[:priced], 1.0] for work in works], np.float64)
    wanted = np.asarray(times_ns, np.float64)
    found = _solve(counts, wanted)
    error = np.abs(counts @ found / wanted - 1)
    kept = error <= max(_OUTLIER * float(np.median(error)), _SHARE)
    if not kept.all():
        found = _solve(counts[kept], wanted[kept])
    return Coefficients(*(float(f"{value:.4g}") for value in found[:-1]))


def _solve(counts: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    relative = counts / wanted[:, None]
    # Columns differ by orders of magnitude: scaled, the solver's tolerance means the same for all.
    size = np.maximum(np.abs(relative).max(axis=0), 1e-300)
    found: np.ndarray = nnls(relative / size, np.ones(len(wanted)))[0] / size
    return found
