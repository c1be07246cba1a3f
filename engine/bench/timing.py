"""Calling again and again while a clock runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

PERCENTILES = (25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9)

Span = tuple[float, float]


def repeat(call: Callable[[], object], seconds: float) -> list[Span]:
    """Start and end of every call; at least one, and none begun after `seconds`."""
    spans: list[Span] = []
    until = time.perf_counter() + seconds
    while not spans or spans[-1][1] < until:
        start = time.perf_counter()
        call()
        spans.append((start, time.perf_counter()))
    return spans


def take_turn(call: Callable[[], object], seconds: float, warmup_seconds: float, callers: int) -> list[Span]:
    """Warm up, then time, with so many callers at once; spans in order of their starts."""
    if warmup_seconds > 0:
        _side_by_side(call, warmup_seconds, callers)
    return _side_by_side(call, seconds, callers)


def _side_by_side(call: Callable[[], object], seconds: float, callers: int) -> list[Span]:
    if callers == 1:
        return repeat(call, seconds)
    together = threading.Barrier(callers)

    def caller() -> list[Span]:
        together.wait()
        return repeat(call, seconds)

    with ThreadPoolExecutor(callers) as pool:
        loops = [pool.submit(caller) for _ in range(callers)]
    return sorted(span for loop in loops for span in loop.result())


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of one engine: latencies in milliseconds per batch, `seconds_ran` of wall clock while timed."""

    items_per_second: float
    seconds_ran: float
    iterations: int
    median: float
    mean: float
    std: float
    least: float
    percentiles: dict[str, float]

    def as_json(self, scenario: str) -> dict[str, Any]:
        """The block `benchmark_result` of the exported file."""
        return {
            "scenario": scenario,
            "items_per_sec": self.items_per_second,
            "seconds_ran": self.seconds_ran,
            "iterations": self.iterations,
            "median": self.median,
            "mean": self.mean,
            "std": self.std,
            **self.percentiles,
        }


def summarise(turns: Sequence[Sequence[Span]], batch_size: int) -> Summary:
    """Figures over all turns of an engine; the time between its turns does not count.

    turns  spans of each turn, in order of their starts
    """
    spans = np.array([span for turn in turns for span in turn])
    latencies = (spans[:, 1] - spans[:, 0]) * 1e3
    seconds = sum(max(end for _, end in turn) - turn[0][0] for turn in turns)
    values = np.percentile(latencies, PERCENTILES)
    return Summary(
        items_per_second=batch_size * len(spans) / seconds,
        seconds_ran=seconds,
        iterations=len(spans),
        median=float(np.median(latencies)),
        mean=float(latencies.mean()),
        std=float(latencies.std()),
        least=float(latencies.min()),
        percentiles={f"{p}%": float(value) for p, value in zip(PERCENTILES, values, strict=True)},
    )
