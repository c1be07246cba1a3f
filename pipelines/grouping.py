"""Which rows of a request go through an engine together, where padding is not computed.

Every shape is a plan of its own, and an engine keeps few of them: rows are padded to few lengths, and calls filled up to
few numbers of rows. A length costs nothing; a row that fills up costs about as much as a short text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

# A call of one row is the faster, the closer its length is; those of several rows hardly gain by it.
LENGTHS_OF_ONE = (16, 32, 128, 512)
LENGTHS = (128, 512)
# Rows of a call without a fixed batch, besides one; MANY of them only at the smaller length, for the buffers' sake.
FEW, MANY = 4, 32
# From so many rows on, a call of MANY that is filled up costs less than calls of FEW.
_WORTH_FILLING = 27


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an engine: places of its rows in the request, and its shape, in which further rows are empty."""

    places: Int64
    rows: int
    length: int


def calls(counts: Int64, longest: int, batch_size: int | None) -> Iterator[Call]:
    """All rows of a request in calls, the shortest first, so that rows of a call are of similar length.

    counts       int64 [rows], tokens of each
    longest      tokens that a row may have
    batch_size   rows of every call; None: what suits their number
    """
    order = np.argsort(counts, kind="stable")
    border = int((counts <= LENGTHS[0]).sum())
    for part, many in ((order[:border], MANY), (order[border:], FEW)):
        begin = 0
        for rows in (
            sizes(len(part), many) if batch_size is None else [batch_size] * -(-len(part) // batch_size)
        ):
            places = part[begin : begin + rows]
            begin += rows
            steps = LENGTHS_OF_ONE if rows == 1 else LENGTHS
            yield Call(places, rows, rounded(int(counts[places].max()), steps, longest))


def sizes(rows: int, many: int) -> list[int]:
    """Rows of the calls that so many rows take: 1, FEW or `many`; the sum may be more."""
    whole = rows // many + (rows % many >= _WORTH_FILLING) if many > FEW else 0
    left = max(0, rows - whole * many)
    alone = left % FEW == 1
    return [1] * alone + [FEW] * (-(-(left - alone) // FEW)) + [many] * whole


def rounded(tokens: int, steps: Sequence[int], longest: int) -> int:
    """The length of the plan for rows of this many tokens; beyond the last step, a multiple of it."""
    step = next((step for step in steps if tokens <= step), -(-tokens // steps[-1]) * steps[-1])
    return min(step, longest)
