"""One caller against the bare walk, latency by cores, many callers under both schedulers: all in turns.

request   | wait in line | copy in, walk, copy out | hand on |        `work` is the part in the middle
handover  from the end of one request's work to the begin of the next on the same stream
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.api.engine import Engine
from engine.errors import OptionError
from engine.kernels.row import Array
from engine.plan.build import Plan, Segment
from engine.runtime.bare import walk_alone
from engine.runtime.line import Ticket
from engine.runtime.runner import run_plan
from engine.runtime.streams import Streams

CALLERS = (1, 2, 16, 64)
SCHEDULERS = ("single_stream", "multi_stream")
# Calls whose time is taken together, so that the clock costs nothing.
_CALLS_S = 0.002


@dataclass(frozen=True, slots=True)
class Alone:
    """Seconds of one caller on one core, medians.

    walk   every step called once, nothing else;  team: the same through the team
    line   entering and leaving the line;  whole: a call of the engine, with checks, copies and the new arrays
    """

    walk: float
    team: float
    line: float
    whole: float

    @property
    def scheduling(self) -> float:
        """What the team and the line add to the walk."""
        return self.team - self.walk + self.line


@dataclass(frozen=True, slots=True)
class Load:
    """So many callers that send one request after another: requests a second, seconds, medians over the rounds.

    at_work   cores that bare walks of these requests would keep busy
    """

    scheduler: str
    streams: int
    callers: int
    rate: float
    median: float
    p99: float
    handover: float
    handover_p99: float
    at_work: float


@dataclass(frozen=True, slots=True)
class Found:
    """Everything, and the latency of one caller by number of cores."""

    alone: Alone
    latencies: dict[int, float]
    loads: tuple[Load, ...]


@dataclass(frozen=True, slots=True)
class _Bench:
    """An engine's inside, with its inputs."""

    engine: Engine
    inputs: list[Array]
    streams: Streams
    plans: dict[int, Plan]

    def call(self) -> None:
        self.engine.run(self.inputs)


def _bench(engine: Engine) -> _Bench:
    inputs = engine.generate_random_inputs(seed=0)
    engine.run(inputs)
    plans = engine._plans.find(tuple(array.shape for array in inputs)).plans  # noqa: SLF001 - what is measured
    return _Bench(engine, inputs, engine._streams, plans)  # noqa: SLF001


def measure(
    model: Any,
    options: dict[str, Any],
    cores: int,
    seconds: float,
    rounds: int,
    callers: Sequence[int] = CALLERS,
) -> Found:
    """Time everything `rounds` times in turns, every load for `seconds`.

    options   of the engines, but for cores, streams and scheduler

    Raises OptionError for fewer than one round, and what Engine raises.
    """
    if rounds < 1:
        message = f"rounds must be at least 1; got {rounds}."
        raise OptionError(message)
    counts = sorted({1, max(1, cores // 2), cores})
    by_cores = {count: _bench(Engine(model, num_cores=count, **options)) for count in counts}
    many = _bench(Engine(model, num_cores=cores, num_streams=cores, scheduler="multi_stream", **options))
    benches = dict(zip(SCHEDULERS, (by_cores[cores], many), strict=True))
    alone = [_alone(by_cores[1], seconds) for _ in range(rounds)]
    walk = statistics.median(entry.walk for entry in alone)
    latencies: dict[int, list[float]] = {count: [] for count in counts}
    loads: dict[tuple[str, int], list[Load]] = {(s, c): [] for c in callers for s in SCHEDULERS}
    for _ in range(rounds):
        for count, bench in by_cores.items():
            latencies[count] += _typical([bench.call], seconds)
        for (scheduler, count), taken in loads.items():
            taken.append(_load(benches[scheduler], scheduler, count, seconds, walk))
    return Found(
        Alone(*(_median(alone, field) for field in ("walk", "team", "line", "whole"))),
        {count: statistics.median(times) for count, times in latencies.items()},
        tuple(_of_rounds(entries) for entries in loads.values()),
    )


def _median(entries: Iterable[Any], field: str) -> float:
    return float(statistics.median(getattr(entry, field) for entry in entries))


def _of_rounds(rounds: Sequence[Load]) -> Load:
    first, fields = rounds[0], ("rate", "median", "p99", "handover", "handover_p99", "at_work")
    return Load(first.scheduler, first.streams, first.callers, *(_median(rounds, field) for field in fields))


def _typical(calls: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    """Median seconds of each call, all in turns, many short ones taken together."""
    together, times, until = list[int](), [list[float]() for _ in calls], time.perf_counter() + seconds
    for call in calls:
        start = time.perf_counter()
        call()
        together.append(max(1, int(_CALLS_S / (time.perf_counter() - start))))
    while not times[0] or time.perf_counter() < until:
        for call, count, taken in zip(calls, together, times, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                call()
            taken.append((time.perf_counter() - start) / count)
    return [statistics.median(taken) for taken in times]


def _alone(bench: _Bench, seconds: float) -> Alone:
    plan, team, line = bench.plans[0], bench.streams.teams[0], bench.streams.line
    addresses = [stage.address for stage in plan.stages if isinstance(stage, Segment)]

    def walk() -> None:
        for address in addresses:
            walk_alone(address)

    def through_team() -> None:
        for address in addresses:
            team.run(plan, address)

    def through_line() -> None:
        ticket = Ticket()
        line.enter(ticket)
        line.leave(ticket)

    return Alone(*_typical([walk, through_team, through_line, bench.call], seconds))


def _load(bench: _Bench, scheduler: str, callers: int, seconds: float, walk: float) -> Load:
    requests: list[tuple[int, float, float, float]] = []
    start = time.perf_counter()

    def caller() -> None:
        own: list[tuple[int, float, float, float]] = []
        while not own or own[-1][3] < start + seconds:
            own.append(_request(bench))
        requests.extend(own)

    threads = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(requests) / (time.perf_counter() - start)
    latencies = sorted(ended - came for _, came, _, ended in requests)
    handovers = sorted(_handovers(requests)) or [0.0]
    return Load(
        scheduler,
        len(bench.plans),
        callers,
        rate,
        _share(latencies, 0.5),
        _share(latencies, 0.99),
        _share(handovers, 0.5),
        _share(handovers, 0.99),
        rate * walk,
    )


def _request(bench: _Bench) -> tuple[int, float, float, float]:
    """As an engine does it: (stream, when the caller came, when its work began and ended)."""
    ticket, came = Ticket(), time.perf_counter()
    stream = bench.streams.line.enter(ticket)
    began = time.perf_counter()
    run_plan(bench.plans[stream], bench.streams.teams[stream], bench.inputs)
    ended = time.perf_counter()
    bench.streams.line.leave(ticket)
    return stream, came, began, ended


def _handovers(requests: Sequence[tuple[int, float, float, float]]) -> list[float]:
    """Seconds between the requests of each stream."""
    found, last = list[float](), dict[int, float]()
    for stream, _, began, ended in sorted(requests, key=lambda request: request[2]):
        if stream in last:
            found.append(began - last[stream])
        last[stream] = ended
    return found


def _share(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
