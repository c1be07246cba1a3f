"""What is measured: a weight matrix with so many zeros, laid out in a pattern, over so many lanes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Weights that are zero together: rows x features. Pruning leaves single zeros, or whole blocks of them.
PATTERNS = {"single": (1, 1), "1x4": (1, 4), "4x1": (4, 1), "8x1": (8, 1)}
# Patterns that some row could profit from, by operand; others would only measure the same again.
PATTERNS_OF = {"f32": ("single", "4x1", "8x1"), "u8": ("single", "1x4")}


@dataclass(frozen=True, slots=True)
class Case:
    """One product y[m, lanes] = w[m, k] x[k, lanes].

    operand   "f32" or "u8": what x is, as product rows name it
    zeros     share of zero weights
    pattern   a key of PATTERNS
    """

    operand: str
    m: int
    k: int
    lanes: int
    zeros: float = 0.0
    pattern: str = "single"

    def weights(self) -> Array:
        """float32, or int8, [m, k]; the same for equal sizes, zeros and pattern."""
        source = np.random.default_rng([self.m, self.k, round(1000 * self.zeros), len(self.pattern)])
        down, along = PATTERNS[self.pattern]
        blocks = source.random((-(-self.m // down), -(-self.k // along)), np.float32) < self.zeros
        is_zero = np.repeat(np.repeat(blocks, down, 0), along, 1)[: self.m, : self.k]
        if self.operand == "f32":
            w: Array = source.standard_normal((self.m, self.k), np.float32)
        else:
            w = source.integers(1, 128, (self.m, self.k), np.int8)
        w[is_zero] = 0
        return w
