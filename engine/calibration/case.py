"""What is measured: a weight matrix with so many zeros, laid out in a pattern, over so many lanes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Weights that are zero together: rows x features. Pruning leaves single zeros, or whole blocks of them.
PATTERNS = {"single": (1, 1), "1x4": (1, 4), "4x1": (4, 1), "8x1": (8, 1)}
# Patterns that some row could profit from, by operand; others would only measure the same again.
PATTERNS_OF: dict[str, tuple[str, ...]] = {
    "f32": ("single", "4x1", "8x1"),
    "u8": ("single", "1x4"),
    "w8": (),
    "w4": (),
}
# Features that share a scale, as quantisers write weights of few bits: 8 bits a row, 4 bits in blocks.
_BLOCKS = {"w4": 32}


@functools.lru_cache(maxsize=64)
def _scales(m: int, blocks: int, zero: int) -> tuple[Array, Array]:
    return np.full((m, blocks), 0.01, np.float32), np.full((m, blocks), zero, np.uint8)


@dataclass(frozen=True, slots=True)
class Case:
    """One product y[m, lanes] = w[m, k] x[k, lanes].

    operand   as product rows name it
    zeros     share of zero weights
    pattern   a key of PATTERNS
    """

    operand: str
    m: int
    k: int
    lanes: int
    zeros: float = 0.0
    pattern: str = "single"

    @property
    def block(self) -> int | None:
        """Features that share a scale, of weights of few bits; None: those of a row, or there is none."""
        return _BLOCKS.get(self.operand)

    def scales(self) -> tuple[Array, Array]:
        """Scales and zero points [m, blocks] of weights of few bits; the same arrays whenever asked for."""
        blocks = -(-self.k // (self.block or self.k))
        return _scales(self.m, blocks, 8 if self.operand == "w4" else 128)

    def weights(self) -> Array:
        """float32, int8, or uint8 of few bits, [m, k]; the same for equal sizes, zeros and pattern."""
        source = np.random.default_rng([self.m, self.k, round(1000 * self.zeros), len(self.pattern)])
        down, along = PATTERNS[self.pattern]
        blocks = source.random((-(-self.m // down), -(-self.k // along)), np.float32) < self.zeros
        is_zero = np.repeat(np.repeat(blocks, down, 0), along, 1)[: self.m, : self.k]
        if self.operand == "f32":
            w: Array = source.standard_normal((self.m, self.k), np.float32)
        elif self.operand != "u8":
            return source.integers(0, 16 if self.operand == "w4" else 256, (self.m, self.k), np.uint8)
        else:
            w = source.integers(1, 128, (self.m, self.k), np.int8)
        w[is_zero] = 0
        return w
