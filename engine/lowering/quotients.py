"""Division by a constant in two operations: x / step as x * inverse + x * rest, with one rounding at the end.

    inverse = 1 / step rounded to float32        rest = 1 / step - inverse, rounded likewise

The sum of both is 1 / step but for less than 2**-47 of it, so that the results are those of a division unless a quotient
lies that near to the middle between two float32 numbers (Brisebarre, Muller and Raina 2004 find the divisors for which
none does). Where quotients are rounded to whole numbers next, only the middles beside halves matter: a few
hundred, at each of which the nearest float32 x is looked at.
"""

from __future__ import annotations

import numpy as np

# Halves up to here: those between two bytes, around any zero point.
_HALVES = 256
# Of a quotient: what the two numbers together, and the product with the second, may be wrong by; with a margin of 2.
_DOUBT = 2.0**-46
_DIGITS = 24


def two_part_inverse(step: float) -> tuple[float, float] | None:
    """(inverse, rest) of a float32 step, by which rint(x / step) is found for all x where that is within 256.

    Beyond 256 the result is so too. None where a quotient may be too near to call. Neither step nor quotients may come
    near the ends of float32.
    """
    inverse = np.float32(1) / np.float32(step)
    rest = np.float32(1 / np.float64(np.float32(step)) - np.float64(inverse))
    if rest != 0 and not _are_far(step):
        return None
    return float(inverse), float(rest)


def _are_far(step: float) -> bool:
    """Whether no float32 has a quotient next to a middle beside a half."""
    fraction, _ = np.frexp(np.float64(np.float32(step)))
    divisor = np.int64(fraction * 2**_DIGITS)
    halves = np.arange(_HALVES, dtype=np.float64) + 0.5
    fractions, _ = np.frexp(halves)
    whole = (fractions * 2**_DIGITS).astype(np.int64)
    # In units of half a last place; below a power of two last places are half as large.
    below = np.where(fractions == 0.5, 4 * whole - 1, 4 * whole - 2)
    products = np.concatenate([4 * whole + 2, below]) * divisor
    # x has 24 digits, one more where it is of the next lower power: multiples of this are all that may be x.
    digits = np.frexp(products.astype(np.float64))[1].astype(np.int64)
    multiple = np.int64(1) << (digits - _DIGITS - 1)
    remainder = products % multiple
    distance = np.minimum(remainder, multiple - remainder)
    return bool((distance > products * _DOUBT).all())
