"""GELU for results that become bytes: computed in units of the result's step, from a table of the layer's own.

    u = x / h          sums are scaled to pieces of h, so that the nearest whole number is a piece
    y = max(u, 0) * (h / step) - tail(|u|)        tail(t) = c[i][0] + c[i][1] r + c[i][2] r**2 + c[i][3] r**3
                                                  i = round(t), r = t - i

GELU lacks of max(x, 0) what is even in x (see `simd/mathematics.py`). Cubic pieces are within `CURVE_ERROR` of it; the
lowering takes this way where that is little beside a step. Sixteen numbers take six operations fewer than GELU does, and no
division by the step.

    coefficients    float32 [4][32], constant first; those of a piece stand in one column
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.jit import inner
from engine.kernels.simd.arithmetic import (
    MAGIC,
    absolute,
    bits_of,
    fused_multiply_add,
    maximum,
    minimum,
    negative,
    past_nearest,
    splat_f32,
)
from engine.kernels.simd.lookup import HAS_LOOKUP, PIECES, fit_pieces, pick_of_two
from engine.kernels.simd.mathematics import tanh_tail, upper_tail
from engine.kernels.simd.memory import load_f32

HAS_CURVES = HAS_LOOKUP
# Length of a piece: the last one begins where the tails are less than the error.
PIECE = 0.1640625
# Of the fit, and of float32 coefficients, in units of the result: held by a test.
CURVE_ERROR = 5e-7
DEGREE = 3
_TAILS: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {"gelu": upper_tail, "gelu_tanh": tanh_tail}
)


class Curve(NamedTuple):
    """Coefficients of the pieces 0 to 15, and 16 to 31."""

    constant_low: Any
    constant_high: Any
    linear_low: Any
    linear_high: Any
    square_low: Any
    square_high: Any
    cube_low: Any
    cube_high: Any


@functools.cache
def _fitted(activation: str) -> NDArray[np.float64]:
    pieces = fit_pieces(_TAILS[activation], PIECE, DEGREE).astype(np.float64)
    scaled: NDArray[np.float64] = pieces * PIECE ** np.arange(DEGREE + 1)[:, None]
    return scaled


def has_curve(activation: str) -> bool:
    """Whether an activation is known here."""
    return activation in _TAILS


def coefficients(activation: str, step: float) -> NDArray[np.float32]:
    """float32 [4][PIECES] of an activation whose results are counted in steps."""
    found: NDArray[np.float32] = (_fitted(activation) / step).astype(np.float32)
    return found


@inner
def load_curve(at: int) -> Curve:
    """The coefficients at an address."""
    return Curve(
        load_f32(at),
        load_f32(at + 64),
        load_f32(at + 128),
        load_f32(at + 192),
        load_f32(at + 256),
        load_f32(at + 320),
        load_f32(at + 384),
        load_f32(at + 448),
    )


@inner
def bent(curve: Curve, rate: Any, u: Any) -> Any:
    """What becomes of u pieces, in steps, not rounded. `rate` is h / step."""
    t = minimum(absolute(u), splat_f32(np.float32(PIECES - 1)))
    index, r = bits_of(t + splat_f32(MAGIC)), past_nearest(t)
    p = fused_multiply_add(
        pick_of_two(curve.cube_low, curve.cube_high, index),
        r,
        pick_of_two(curve.square_low, curve.square_high, index),
    )
    p = fused_multiply_add(p, r, pick_of_two(curve.linear_low, curve.linear_high, index))
    tail = fused_multiply_add(p, r, pick_of_two(curve.constant_low, curve.constant_high, index))
    return fused_multiply_add(maximum(splat_f32(np.float32(0)), u), rate, negative(tail))
