"""Calls timed in turns, so that a slow moment of the machine falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

LEAST_ROUNDS = 5
# A sample lasts at least so long: the clock's own cost and one interrupt must not count.
SAMPLE_S = 2e-4


def in_turns(
    calls: Sequence[Callable[[], object]], seconds: float, least_rounds: int = LEAST_ROUNDS
) -> list[list[float]]:
    """Samples of each call in seconds, at least so many, taken in turns for about `seconds` altogether.

    A sample follows an untimed call, so that what fits a cache is in it.
    """
    repeats = [max(1, round(SAMPLE_S / once(call))) for call in calls]
    samples: list[list[float]] = [[] for _ in calls]
    until = time.perf_counter() + seconds
    while samples and (len(samples[0]) < least_rounds or time.perf_counter() < until):
        for call, number, taken in zip(calls, repeats, samples, strict=True):
            call()
            start = time.perf_counter()
            for _ in range(number):
                call()
            taken.append((time.perf_counter() - start) / number)
    return samples


def once(call: Callable[[], object]) -> float:
    """About the seconds of one call: the shorter of two."""
    spans = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        spans.append(time.perf_counter() - start)
    return max(min(spans), 1e-7)
