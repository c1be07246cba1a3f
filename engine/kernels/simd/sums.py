"""Sums of many numbers that keep what each addition rounds away."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner
from engine.kernels.simd.arithmetic import absolute, select, splat_f32


@inner
def exactly_added(total: Any, rest: Any, x: Any) -> Any:
    """total + x, and `rest` with what its rounding leaves, exactly, added to it (Knuth's sum of two)."""
    more = total + x
    part = more - total
    return more, rest + ((total - (more - part)) + (x - part))


@inner
def finite_rest(rest: Any) -> Any:
    """The rests; 0 for sums that have left the finite numbers, where they mean nothing."""
    zero = splat_f32(np.float32(0))
    return select(absolute(rest) < splat_f32(np.float32(np.inf)), rest, zero)
