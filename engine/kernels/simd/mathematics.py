"""exp, erf, tanh, sigmoid and GELU on F32 vectors, without a library call.

Coefficients were fitted in float64 (reweighted least squares on Chebyshev nodes, towards the smallest
maximum error) and rounded to float32. Errors against float64, over all of float32, are held by tests:

    exponential   1.5 ulp     error_function  2.5 ulp     hyperbolic_tangent  2.5 ulp     sigmoid  3 ulp
    decay         1.5 ulp down to exp(-86), 0 below       gelu, gelu_tanh  4e-8 + 2 ulp
    silu          3 ulp above -87, 2e-36 below
    rough_decay   1e-5, relative, down to exp(-87), denormal below
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from engine.jit import inner
from engine.kernels.simd.arithmetic import (
    MAGIC,
    MAGIC_BITS,
    absolute,
    bits_of,
    copy_sign,
    from_bits,
    fused_multiply_add,
    maximum,
    minimum,
    select,
    splat_f32,
    splat_i32,
)
from engine.kernels.simd.lookup import HAS_LOOKUP, piecewise

LOG2_E = np.float32(1.4426950408889634)
# ln 2 in two pieces: the first has few bits, so that n * piece is exact (Cody and Waite 1980).
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_EXP_LOWEST, _EXP_HIGHEST = np.float32(-104.0), np.float32(89.0)
_ERF_ONE = np.float32(4.0)  # erf(4) rounds to 1
_TANH_CUBIC = np.float32(0.044715)
_TANH_SCALE = np.float32(0.7978845608028654)  # sqrt(2 / pi)


def _number(value: float) -> Any:
    return np.float32(value)


_E2, _E3, _E4, _E5, _E6 = map(_number, (0.5, 0.16666518, 0.041666206, 0.008368954, 0.0013950596))
_S0, _S1, _S2, _S3 = map(_number, (1.1283791, -0.37612626, 0.11283585, -0.026853811))
_S4, _S5, _S6 = map(_number, (0.0051883273, -0.00080101908, 7.8538513e-05))
_L0, _L1, _L2, _L3 = map(_number, (-0.00018804533, 1.1295785, 0.63321984, 0.10841862))
_L4, _L5, _L6, _L7 = map(_number, (-0.025208283, 0.0042045712, -0.0004413382, 2.168699757e-05))
_T0, _T1, _T2, _T3, _T4 = map(_number, (-0.33333284, 0.13331491, -0.053743489, 0.020650564, -0.0057170214))
_R1, _R2, _R3, _R4 = map(_number, (0.69312418, 0.24024099, 0.055906426, 0.0095828529))
# q with exp(-q(x)) = erfc(x / sqrt 2), for 0 <= x <= 5.7.
_Q0, _Q1, _Q2, _Q3 = map(_number, (-3.1840023e-07, 0.79789305, 0.31825247, 0.036506105))
_Q4, _Q5, _Q6, _Q7, _Q8 = map(
    _number, (-0.0050504501, 0.00020528385, 8.5539017e-05, -1.8462872e-05, 1.24789e-06)
)
_TAIL, _TANH_TAIL = np.float32(5.7), np.float32(12.0)
_DECAY_LOWEST = np.float32(-86.0)
_SILU_BOUND = np.float32(87.0)
# 2**-126.9: its power of two is -127, which leaves a denormal.
_ROUGH_LOWEST = np.float32(-126.9 * math.log(2))
_LOWEST = np.finfo(np.float32).min
_ONE, _HALF, _TWO, _TANH_SMALL = map(_number, (1.0, 0.5, 2.0, 0.625))


@inner
def _power_and_rest(x: Any) -> Any:
    """(n + 1.5 * 2**23, exp(x - n ln 2)) with n = round(x / ln 2): the low bits of the first are those of n."""
    shifted = fused_multiply_add(x, splat_f32(LOG2_E), splat_f32(MAGIC))
    n = shifted - splat_f32(MAGIC)
    r = fused_multiply_add(n, splat_f32(-_LN2_HIGH), x)
    r = fused_multiply_add(n, splat_f32(-_LN2_LOW), r)
    p = fused_multiply_add(splat_f32(_E6), r, splat_f32(_E5))
    p = fused_multiply_add(p, r, splat_f32(_E4))
    p = fused_multiply_add(p, r, splat_f32(_E3))
    p = fused_multiply_add(p, r, splat_f32(_E2))
    return shifted, fused_multiply_add(p, r * r, r) + splat_f32(_ONE)


@inner
def _decay(x: Any) -> Any:
    """e**x for -86 <= x <= 0: the power is added to the exponent's bits at once. NaN is handed on."""
    shifted, p = _power_and_rest(x)
    return from_bits(bits_of(p) + (bits_of(shifted) << splat_i32(23)))


@inner
def decay(x: Any) -> Any:
    """e**x for x <= 0, as softmax needs it; 0 below -86, where the result is under 1e-37."""
    lowest = splat_f32(_DECAY_LOWEST)
    return select(x < lowest, splat_f32(np.float32(0)), _decay(maximum(lowest, x)))


@inner
def rough_decay(x: Any) -> Any:
    """e**x for x <= 0, exact at 0, for results that become bfloat16: below 2**-126 they are denormal, which counts as 0."""
    bounded = maximum(splat_f32(_ROUGH_LOWEST), x)
    shifted = fused_multiply_add(bounded, splat_f32(LOG2_E), splat_f32(MAGIC))
    r = fused_multiply_add(bounded, splat_f32(LOG2_E), splat_f32(MAGIC) - shifted)
    p = fused_multiply_add(splat_f32(_R4), r, splat_f32(_R3))
    p = fused_multiply_add(p, r, splat_f32(_R2))
    p = fused_multiply_add(p, r, splat_f32(_R1))
    p = fused_multiply_add(p, r, splat_f32(_ONE))
    return from_bits(bits_of(p) + (bits_of(shifted) << splat_i32(23)))


@inner
def exponential(x: Any) -> Any:
    """e**x: n = round(x / ln 2), a polynomial for the rest, and n added to the exponent in two halves."""
    bounded = maximum(splat_f32(_EXP_LOWEST), minimum(splat_f32(_EXP_HIGHEST), x))
    shifted, p = _power_and_rest(bounded)
    power = bits_of(shifted) - splat_i32(MAGIC_BITS)
    # One half of the power at a time: 2**n itself may be below or above the range of float32.
    half = power >> splat_i32(1)
    bias, shift = splat_i32(127), splat_i32(23)
    p = p * from_bits((half + bias) << shift) * from_bits((power - half + bias) << shift)
    return select(x == x, p, x)  # noqa: PLR0124 - false for NaN, which is handed on


@inner
def error_function(x: Any) -> Any:
    """erf(x): an odd polynomial up to 1, above it 1 - exp(-q(|x|)) with q fitted to -log(erfc)."""
    size = absolute(x)
    u = x * x
    small = fused_multiply_add(splat_f32(_S6), u, splat_f32(_S5))
    small = fused_multiply_add(small, u, splat_f32(_S4))
    small = fused_multiply_add(small, u, splat_f32(_S3))
    small = fused_multiply_add(small, u, splat_f32(_S2))
    small = fused_multiply_add(small, u, splat_f32(_S1))
    small = fused_multiply_add(small, u, splat_f32(_S0)) * x
    t = minimum(size, splat_f32(_ERF_ONE))
    q = fused_multiply_add(splat_f32(_L7), t, splat_f32(_L6))
    q = fused_multiply_add(q, t, splat_f32(_L5))
    q = fused_multiply_add(q, t, splat_f32(_L4))
    q = fused_multiply_add(q, t, splat_f32(_L3))
    q = fused_multiply_add(q, t, splat_f32(_L2))
    q = fused_multiply_add(q, t, splat_f32(_L1))
    q = fused_multiply_add(q, t, splat_f32(_L0))
    large = copy_sign(splat_f32(_ONE) - exponential(splat_f32(np.float32(0)) - q), x)
    return select(size < splat_f32(_ONE), small, select(x == x, large, x))  # noqa: PLR0124


@inner
def hyperbolic_tangent(x: Any) -> Any:
    """tanh(x): an odd polynomial up to 0.625, above it 1 - 2 / (exp(2|x|) + 1)."""
    size = absolute(x)
    u = x * x
    small = fused_multiply_add(splat_f32(_T4), u, splat_f32(_T3))
    small = fused_multiply_add(small, u, splat_f32(_T2))
    small = fused_multiply_add(small, u, splat_f32(_T1))
    small = fused_multiply_add(small, u, splat_f32(_T0))
    small = fused_multiply_add(small * u, x, x)
    large = splat_f32(_ONE) - splat_f32(_TWO) / (exponential(size + size) + splat_f32(_ONE))
    return select(size < splat_f32(_TANH_SMALL), small, copy_sign(large, x))


@inner
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), computed from exp(-|x|) so that it neither overflows nor loses small values."""
    e = exponential(splat_f32(np.float32(0)) - absolute(x))
    positive = splat_f32(_ONE) / (e + splat_f32(_ONE))
    return select(x < splat_f32(np.float32(0)), e * positive, positive)


@inner
def silu(x: Any) -> Any:
    """x / (1 + exp(-x)). Below -87 it is that of -87, under 2e-36, at minus infinity too. NaN is handed on."""
    bounded = maximum(splat_f32(-_SILU_BOUND), x)
    shifted, p = _power_and_rest(splat_f32(np.float32(0)) - minimum(splat_f32(_SILU_BOUND), bounded))
    return bounded / (from_bits(bits_of(p) + (bits_of(shifted) << splat_i32(23))) + splat_f32(_ONE))


def upper_tail(x: float) -> float:
    """x times the chance that a normal variable exceeds x: what GELU lacks of x for positive x."""
    return x * math.erfc(x / math.sqrt(2)) / 2


def tanh_tail(x: float) -> float:
    """The same of GELU's approximation by tanh: x (1 - tanh z) / 2 = x / (1 + exp(2 z))."""
    return x / (1 + math.exp(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


_tail_in_pieces, _tanh_tail_in_pieces = piecewise(upper_tail, 0.1953125), piecewise(tanh_tail, 0.1953125)


@inner
def _gelu_by_pieces(x: Any) -> Any:
    """max(x, 0) - tail(|x|): the tail is even, and small where it is cut off."""
    return maximum(splat_f32(np.float32(0)), x) - _tail_in_pieces(absolute(x))


@inner
def _gelu_by_exponential(x: Any) -> Any:
    """By h = erfc(|x| / sqrt 2) / 2 = exp(-q(|x|)) / 2 it is x h for negative x and x (1 - h) for positive."""
    size = absolute(x)
    t = minimum(size, splat_f32(_TAIL))
    q = fused_multiply_add(splat_f32(-_Q8), t, splat_f32(-_Q7))
    q = fused_multiply_add(q, t, splat_f32(-_Q6))
    q = fused_multiply_add(q, t, splat_f32(-_Q5))
    q = fused_multiply_add(q, t, splat_f32(-_Q4))
    q = fused_multiply_add(q, t, splat_f32(-_Q3))
    q = fused_multiply_add(q, t, splat_f32(-_Q2))
    q = fused_multiply_add(q, t, splat_f32(-_Q1))
    q = fused_multiply_add(q, t, splat_f32(-_Q0))
    half = select(size < splat_f32(_TAIL), _decay(q) * splat_f32(_HALF), splat_f32(np.float32(0)))
    # Bounded, as minus infinity times 0 is no number.
    return maximum(splat_f32(_LOWEST), x) * select(x < splat_f32(np.float32(0)), half, splat_f32(_ONE) - half)


# x / 2 * (1 + erf(x / sqrt 2)) (Hendrycks and Gimpel 2016); 0 at minus infinity. Nothing cancels in the tail.
gelu = _gelu_by_pieces if HAS_LOOKUP else _gelu_by_exponential


@inner
def _gelu_tanh_by_pieces(x: Any) -> Any:
    return maximum(splat_f32(np.float32(0)), x) - _tanh_tail_in_pieces(absolute(x))


@inner
def _gelu_tanh_by_exponential(x: Any) -> Any:
    """max(x, 0) - t e / (1 + e) with t = |x|, e = exp(-2 z)."""
    t = minimum(absolute(x), splat_f32(_TANH_TAIL))
    cubic = fused_multiply_add(t * t * splat_f32(_TANH_CUBIC), t, t)
    e = decay(cubic * splat_f32(-_TWO * _TANH_SCALE))
    return maximum(splat_f32(np.float32(0)), x) - t * (e / (e + splat_f32(_ONE)))


# The tanh approximation of GELU: x / 2 * (1 + tanh z), z = sqrt(2 / pi) * (x + 0.044715 x**3).
gelu_tanh = _gelu_tanh_by_pieces if HAS_LOOKUP else _gelu_tanh_by_exponential
