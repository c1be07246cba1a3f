"""Lane panels: how activations lie in memory.

A tensor [..., s, k] has one lane for each position [..., s] and one row for each feature k. Lanes are
cut into panels of `width` (16, 32 or 64); a row of a panel is 4 * width bytes.

    f32 panel    [panel][k][lane]            one float32 a lane
    u8 quads     [panel][k / 4][lane][4 k's] four features a lane: an operand of the quad product
    bf16 pairs   [panel][k / 2][lane][2 k's] two features a lane, likewise

    outer 0 (s lanes, padded to pitch)  outer 1 ...
    |lane 0 .. s-1|pad| |lane pitch ..           pitch is a multiple of 16, so that sixteen lanes never
    |<----- panel 0 ---->|<----- panel 1 -       belong to two sequences

Padding lanes hold finite values that nobody reads: lanes never mix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

VECTOR_LANES = 16
WIDTHS = (16, 32, 64)
# Lanes that a dense product takes one by one, where the last vector holds no more.
MOST_FEW = 4


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


@dataclass(frozen=True, slots=True)
class Lanes:
    """Which lane a position has.

    outer    number of sequences (1 for a matrix [n, k])
    inner    positions of one sequence
    widest   lanes that a panel has at most: a plan for few of the positions wants narrow ones
    """

    outer: int
    inner: int
    widest: int = WIDTHS[-1]

    @property
    def pitch(self) -> int:
        """Lanes from one sequence to the next."""
        return _round_up(max(self.inner, 1), VECTOR_LANES)

    @property
    def width(self) -> int:
        """Lanes of a panel: as many as are not mostly padding."""
        used = self.outer * self.pitch
        return next(width for width in WIDTHS if used <= width or width == self.widest)

    @property
    def panels(self) -> int:
        return -(-self.outer * self.pitch // self.width)

    @property
    def row_bytes(self) -> int:
        return 4 * self.width

    @property
    def last_bytes(self) -> int:
        """Bytes of the last panel's row that hold lanes."""
        return 4 * (self.outer * self.pitch - (self.panels - 1) * self.width)

    @property
    def few(self) -> int:
        """Lanes of the last vector, where they are few and of the only sequence; else 0."""
        rest = self.inner % VECTOR_LANES
        return rest if self.outer == 1 and rest <= MOST_FEW else 0

    @property
    def vectors(self) -> int:
        """Groups of sixteen lanes over all panels, padding included."""
        return self.panels * self.width // VECTOR_LANES

    @classmethod
    def of(cls, shape: tuple[int, ...], widest: int) -> Lanes:
        """The lanes of a tensor of this shape, its last axis k, in panels of at most `widest` lanes."""
        leading = shape[:-1]
        if len(leading) <= 1:
            return cls(1, math.prod(leading), widest)
        return cls(math.prod(leading[:-1]), leading[-1], widest)


def panel_rows(k: int) -> int:
    """Rows a panel of k features owns: whole strips, so that kernels may write a strip's last rows."""
    return _round_up(max(k, 1), 4)


def quad_rows(k: int) -> int:
    """Rows of a panel of u8 quads."""
    return -(-max(k, 1) // 4)


def pair_rows(k: int) -> int:
    """Rows of a panel of bfloat16 pairs."""
    return -(-max(k, 1) // 2)


def quad_margin(row_bytes: int) -> int:
    """Bytes that must be readable beyond the last panel of quads: tiles take sixteen rows at a time.

    What lies there is multiplied by weights of 0.
    """
    return 15 * row_bytes
