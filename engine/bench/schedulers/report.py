"""What was found, as tables with advice, and as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from engine.bench.schedulers.measure import Alone, Found, Load

# Fewer cores at work than this share, and a request cannot fill them; gains below it are no reason to change.
FILLS, WORTH = 0.8, 1.05
SHORT_S = 1e-3
_HEAD = ("scheduler", "streams", "callers", "requests/s", "median", "p99", "handover", "p99", "cores at work")


def _time(seconds: float) -> str:
    return f"{1e6 * seconds:.1f} us" if seconds < 1e-3 else f"{1e3 * seconds:.2f} ms"


def _scheduling(alone: Alone) -> str:
    """Only of a short walk: a long one varies by more."""
    return f": scheduling {_time(alone.scheduling)}" if alone.walk < SHORT_S else ""


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def _row(load: Load) -> tuple[str, ...]:
    times = (load.median, load.p99, load.handover, load.handover_p99)
    counts = str(load.streams), str(load.callers), f"{load.rate:.1f}"
    return (load.scheduler, *counts, *map(_time, times), f"{load.at_work:.2f}")


def text(found: Found, machine: Mapping[str, Any]) -> str:
    """The tables."""
    alone, cores = found.alone, max(found.latencies)
    by_cores = [("cores", "latency", "against one")]
    one = found.latencies[1]
    by_cores += [(str(c), _time(s), f"{one / s:.2f}x") for c, s in sorted(found.latencies.items())]
    return "\n".join(
        [
            f"{machine['cpu']}, {machine['isa_in_use']}, {machine['cores']} cores, {machine['date']}",
            "",
            f"One caller on one core: bare walk {_time(alone.walk)}, through the team {_time(alone.team)}, "
            f"line {_time(alone.line)}{_scheduling(alone)}; a whole call {_time(alone.whole)}.",
            "",
            *_lines(by_cores),
            "",
            *_lines([_HEAD, *map(_row, found.loads)]),
            "",
            advice(found.latencies, found.loads, cores),
        ]
    )


def advice(latencies: Mapping[int, float], loads: Sequence[Load], cores: int) -> str:
    """Which scheduler these figures speak for."""
    if cores == 1:
        return "One core: all schedulers are the same."
    scaling = latencies[1] / latencies[cores]
    best = {
        name: max((load.rate for load in loads if load.scheduler == name), default=0.0)
        for name in ("single_stream", "multi_stream")
    }
    gain = best["multi_stream"] / best["single_stream"]
    fills = "fills" if scaling >= FILLS * cores else "does not fill"
    choice = "multi_stream for several callers" if gain >= WORTH else "single_stream"
    return (
        f"A request {fills} the cores: {cores} are {scaling:.2f}x as fast as one. Several callers get {gain:.2f}x the "
        f"throughput from multi_stream. Take {choice}; single_stream has the lowest latency for one caller."
    )


def as_json(found: Found, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values, seconds."""
    return {"machine": dict(machine), **asdict(found)}
