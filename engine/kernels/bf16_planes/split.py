"""float32 as a sum of bfloat16 parts: x = hi + mid + lo, exactly, but for what lies below 2**-126.

Each part is the rest before it rounded to eight bits, half to even (numbers that would round to infinity
are cut instead); the rest after it is exact. NaN stays NaN; infinity becomes NaN where there is a second part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.jit import F32, I32, inner, instruction
from engine.kernels.simd.arithmetic import absolute, bits_of, from_bits, select, splat_f32, splat_i32
from engine.kernels.simd.pairs import LARGE, finite_pairs, kept_finite, store_halves

_LARGE = np.uint32(LARGE).view(np.float32)


@inner
def leading_part(x: Any) -> Any:
    """x rounded to bfloat16, as float32."""
    bits, upper = bits_of(x), splat_i32(-65536)
    odd = (bits >> splat_i32(16)) & splat_i32(1)
    rounded = (bits + splat_i32(0x7FFF) + odd) & upper
    cut = bits & upper
    part = select(absolute(x) < splat_f32(_LARGE), from_bits(rounded), from_bits(cut))
    # A NaN whose bits are all below would be cut to infinity.
    return select(x == x, part, from_bits(cut | splat_i32(0x00400000)))  # noqa: PLR0124


# Two float32 rounded to bfloat16, side by side in 32 bits, the first below: what products read. As `leading_part`, but
# that numbers below the smallest normal may become 0, for which they count there.
pair_of = instruction(I32, (F32, F32), finite_pairs)


@inner
def store_half(x: Any, address: int) -> None:
    """Sixteen float32 rounded likewise, to 32 bytes."""
    store_halves(kept_finite(x), address)


def _rounded_bits(x: NDArray[Any]) -> NDArray[Any]:
    """The bits of `leading_part`, as uint32."""
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    usual = np.abs(x) < _LARGE
    if usual.all():
        return rounded
    kept = np.where(usual, rounded, bits & np.uint32(0xFFFF0000))
    return np.where(np.isnan(x), kept | np.uint32(0x00400000), kept)


def bf16_parts(x: NDArray[Any], count: int) -> list[NDArray[Any]]:
    """The first `count` parts of float32 x, as uint16 bits of bfloat16."""
    parts: list[NDArray[Any]] = []
    rest = np.ascontiguousarray(x, np.float32)
    for _ in range(count):
        kept = _rounded_bits(rest)
        parts.append((kept >> np.uint32(16)).astype(np.uint16))
        with np.errstate(invalid="ignore"):
            rest = rest - kept.view(np.float32)
    return parts
