"""An event-driven model of streams on several memory nodes: who waits how long under which policy.

Requests arrive at random; each takes a time drawn from a few plans' service times, longer on a node that does
not hold what the request needs. The elastic policy is the engine's own: engine.runtime.policy.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.runtime.policy import NodeLoad, choose_node, next_in_line

# Milliseconds of a request on a stream of two cores, and how often it comes. Measured on two cores of an AMD EPYC (Zen 4):
# the sentiment model at 1x128, BERT-base with 90 % zeros in int8 at 1x128, sentiment at 16x128. The shares are assumed.
SERVICES = ((1.5, 0.70), (9.5, 0.25), (24.6, 0.05))


@dataclass(slots=True)
class Request:
    """One request of the model; `node` is where it lined up."""

    arrival: float
    service: float
    number: int
    node: int = 0


Choice = Callable[[Sequence[NodeLoad], Request], int]


def elastic(loads: Sequence[NodeLoad], request: Request) -> int:
    """The engine's."""
    return choose_node(loads)


def round_robin(loads: Sequence[NodeLoad], request: Request) -> int:
    """Nodes in turn, whatever they have to do."""
    return request.number % len(loads)


@dataclass(slots=True)
class Outcome:
    """Latencies in order of completion, busy time of each node."""

    latencies: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """The latency that this share of the requests does not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def imbalance(self) -> float:
        """The busiest node's time over the mean."""
        return max(self.busy) * len(self.busy) / sum(self.busy)


def arrivals(count: int, load: float, streams: int, seed: int) -> list[Request]:
    """Requests at random times that keep this share of all streams busy."""
    source = random.Random(seed)
    mean = sum(service * share for service, share in SERVICES)
    clock, made = 0.0, []
    for number in range(count):
        clock += source.expovariate(load * streams / mean)
        (service,) = source.choices([s for s, _ in SERVICES], [w for _, w in SERVICES])
        made.append(Request(clock, service, number))
    return made


def simulate(
    requests: Sequence[Request], nodes: int, each: int, choose: Choice, *, helps: bool, remote: float = 1.0
) -> Outcome:
    """Serve the requests on `nodes` x `each` streams.

    helps    an idle stream takes the oldest request of another node when its own has none
    remote   factor on the service time of a request that is served by another node than it lined up for
    """
    loads = [NodeLoad(each) for _ in range(nodes)]
    idle, lines = [each] * nodes, [deque[Request]() for _ in range(nodes)]
    events: list[tuple[float, int, int, Request]] = []
    outcome = Outcome(busy=[0.0] * nodes)

    def start(request: Request, node: int, now: float) -> None:
        time = request.service * (remote if node != request.node else 1.0)
        outcome.busy[node] += time
        heapq.heappush(events, (now + time, request.number, node, request))

    def finish(until: float) -> None:
        while events and events[0][0] <= until:
            now, _, node, request = heapq.heappop(events)
            outcome.latencies.append(now - request.arrival)
            loads[node].work -= request.service
            oldest = [line[0].number if line else None for line in lines]
            source = next_in_line(oldest, node) if helps else (node if lines[node] else None)
            if source is None:
                idle[node] += 1
                continue
            following = lines[source].popleft()
            loads[source].work -= following.service
            loads[node].work += following.service
            start(following, node, now)

    for request in requests:
        finish(request.arrival)
        node = choose(loads, request)
        if helps and not idle[node]:
            node = next((n for n in range(nodes) if idle[n]), node)
        request.node = node
        loads[node].requests += 1
        loads[node].work += request.service
        if idle[node]:
            idle[node] -= 1
            start(request, node, request.arrival)
        else:
            lines[node].append(request)
    finish(float("inf"))
    return outcome
