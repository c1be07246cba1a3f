"""Answers as spans of a passage: windows that cover it, and the best pairs of a first and a last token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens `first` to `last` of a window's part of the passage, and their score."""

    score: float
    first: int
    last: int


def windows(tokens: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Begin and end of parts that cover `tokens`, each of `room` and sharing `stride` with the one before it.

    The stride is cut so that each part brings something new; an empty passage is one empty part.
    """
    step = room - min(stride, room - 1)
    count = 1 + max(0, -(-(tokens - room) // step))
    return [(index * step, min(index * step + room, tokens)) for index in range(count)]


def best_spans(start: Array, end: Array, longest: int, count: int) -> list[Span]:
    """Spans of at most `longest` tokens from the `count` best starts and ends, by the sum of both, best first.

    start, end   logits of the passage's tokens alone
    """
    starts = np.argsort(-start, kind="stable")[:count]
    ends = np.argsort(-end, kind="stable")[:count]
    sums = start[starts].astype(np.float64)[:, None] + end[ends]
    fits = (ends >= starts[:, None]) & (ends < starts[:, None] + longest)
    rows, columns = np.nonzero(fits)
    order = np.argsort(-sums[rows, columns], kind="stable")[:count]
    return [
        Span(float(sums[row, column]), int(starts[row]), int(ends[column]))
        for row, column in zip(rows[order], columns[order], strict=True)
    ]


def likeliest_span(start: Array, end: Array, longest: int) -> Span | None:
    """The span of at most `longest` tokens with the highest product; None when there are no tokens.

    start, end   probabilities of the passage's tokens alone
    """
    if not len(start):
        return None
    products = np.tril(np.triu(np.outer(start, end)), longest - 1)
    first, last = divmod(int(products.argmax()), len(end))
    return Span(float(products[first, last]), first, last)
