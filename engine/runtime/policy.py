"""Who gets which stream: pure functions, tried on made-up machines in the tests.

A request goes to the memory node with the least work per stream; among equals to the one that has had the
fewest requests. A stream that becomes idle takes the oldest request of its own node, else the oldest of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class NodeLoad:
    """What a node has to do: expected seconds of requests that wait or run there, and how many came in all."""

    streams: int
    work: float = 0.0
    requests: int = 0


def choose_node(loads: Sequence[NodeLoad]) -> int:
    """The node a request goes to."""
    return min(range(len(loads)), key=lambda n: (loads[n].work / loads[n].streams, loads[n].requests, n))


def next_in_line(arrivals: Sequence[int | None], own: int) -> int | None:
    """The node whose oldest request an idle stream of node `own` takes, None when nobody waits.

    arrivals   number of the oldest waiting request of each node, None where none waits
    """
    if arrivals[own] is not None:
        return own
    waiting = [(arrival, node) for node, arrival in enumerate(arrivals) if arrival is not None]
    return min(waiting)[1] if waiting else None
