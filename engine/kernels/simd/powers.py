"""Powers of two as a softmax of whole numbers needs them: 2**(x factor), for products from -126 to 0.

    k = round(32 x factor), r = 32 x factor - k        2**(k / 32) from a table of 32, times 1 + c1 r + c2 r**2
    k = round(x factor), r = x factor - k              2**k, times a polynomial of degree 5, where no instruction looks up

One rounding makes r, so that no more than the factor's own is lost, however large the product. Errors are below 3 ulp.
On Zen 4 the table takes two of seven multiply-adds from the pipes that do these alone, for a permutation, which others do.
Coefficients as in `mathematics`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner
from engine.kernels.simd.arithmetic import MAGIC, bits_of, from_bits, fused_multiply_add, splat_f32, splat_i32
from engine.kernels.simd.lookup import HAS_LOOKUP, lookup

POWER_LOWEST = np.float32(-126)
_STEPS = 32
_ONE = np.float32(1)
_R1, _R2 = np.float32(0.021661166), np.float32(0.00023459621)
_P1, _P2, _P3 = np.float32(0.693147), np.float32(0.24022242), np.float32(0.055507336)
_P4, _P5 = np.float32(0.009671513), np.float32(0.0013264727)


def _roots() -> Any:
    """2**(j / 32), less what k adds to the fraction when it is added five bits below the exponent: j in its highest bits."""
    steps = np.arange(_STEPS, dtype=np.int32)
    roots = (2.0 ** (steps / _STEPS)).astype(np.float32)
    return lookup((roots.view(np.int32) - (steps << 18)).view(np.float32))


_root = _roots()


@inner
def _split(x: Any, factor: Any) -> Any:
    """(k + 1.5 * 2**23, r)."""
    shifted = fused_multiply_add(x, factor, splat_f32(MAGIC))
    return shifted, fused_multiply_add(x, factor, splat_f32(MAGIC) - shifted)


@inner
def _by_table(x: Any, factor: Any) -> Any:
    shifted, r = _split(x, factor * splat_f32(np.float32(_STEPS)))
    power = from_bits(bits_of(_root(bits_of(shifted))) + (bits_of(shifted) << splat_i32(18)))
    return fused_multiply_add(power, fused_multiply_add(splat_f32(_R2), r, splat_f32(_R1)) * r, power)


@inner
def _by_polynomial(x: Any, factor: Any) -> Any:
    shifted, r = _split(x, factor)
    p = fused_multiply_add(splat_f32(_P5), r, splat_f32(_P4))
    p = fused_multiply_add(p, r, splat_f32(_P3))
    p = fused_multiply_add(p, r, splat_f32(_P2))
    p = fused_multiply_add(p, r, splat_f32(_P1))
    p = fused_multiply_add(p, r, splat_f32(_ONE))
    return from_bits(bits_of(p) + (bits_of(shifted) << splat_i32(23)))


# (x, factor) -> 2**(x factor), exactly 1 where x is 0.
scaled_power = _by_table if HAS_LOOKUP else _by_polynomial
# The one that this level takes, and the other.
FORMS = (_by_table, _by_polynomial)
