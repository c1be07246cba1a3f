"""The line before the streams: callers are served in order of arrival and sleep, outside of the interpreter's lock."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import ClosedError
from engine.runtime.fork import renew_after_fork
from engine.runtime.limits import Limits
from engine.runtime.policy import NodeLoad, choose_node, next_in_line

NOBODY = -1


@dataclass(eq=False, slots=True)
class Ticket:
    """A caller's turn: what its request is expected to take, in seconds say, and the stream that is its own now.

    Whoever is interrupted anywhere between may hand it back any number of times.
    """

    work: float = 1.0
    stream: int = NOBODY
    arrival: int = 0
    called: threading.Lock | None = None


class Line:
    """Gives streams to callers.

    nodes   of each stream its memory node, 0 .. n - 1: callers line up before a node
    """

    def __init__(self, nodes: Sequence[int]) -> None:
        self._nodes = tuple(nodes)
        self._closed = False
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Every stream is idle and nobody waits: at the beginning, and in a forked child."""
        count = max(self._nodes) + 1
        self._lock = threading.Lock()
        self._loads = [NodeLoad(self._nodes.count(node)) for node in range(count)]
        self._waiting: list[deque[Ticket]] = [deque() for _ in range(count)]
        self._idle: list[list[int]] = [[] for _ in range(count)]
        for stream in reversed(range(len(self._nodes))):
            self._idle[self._nodes[stream]].append(stream)
        self._arrivals = 0

    def enter(self, ticket: Ticket, limits: Limits | None = None) -> int:
        """The stream that is the ticket's until it is handed back; waits for one in order of arrival.

        Raises ClosedError; DeadlineError or RequestCancelledError while it waits.
        """
        with self._lock:
            if self._closed:
                message = "the engine was closed; make a new one."
                raise ClosedError(message)
            node = choose_node(self._loads) if len(self._loads) > 1 else 0
            if not self._idle[node]:
                node = next((n for n, idle in enumerate(self._idle) if idle), node)
            self._loads[node].requests += 1
            self._loads[node].work += ticket.work
            if self._idle[node]:
                # Seen in both places if an interrupt comes between: better than in none.
                ticket.stream = self._idle[node][-1]
                self._idle[node].pop()
                return ticket.stream
            ticket.arrival, ticket.called = self._arrivals, threading.Lock()
            self._arrivals += 1
            ticket.called.acquire()
            self._waiting[node].append(ticket)
        try:
            if limits is None:
                ticket.called.acquire()
            else:
                limits.acquire(ticket.called)
        except BaseException:
            self._step_out(ticket, node)
            raise
        return ticket.stream

    def _step_out(self, ticket: Ticket, node: int) -> None:
        """Wait no longer; a stream that came meanwhile goes to the next."""
        with self._lock:
            if ticket.stream == NOBODY and ticket in self._waiting[node]:
                self._waiting[node].remove(ticket)
                self._loads[node].work -= ticket.work
        self.leave(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Give the ticket's stream to whoever has waited longest; nothing to do when it has none."""
        with self._lock:
            stream, ticket.stream = ticket.stream, NOBODY
            if stream == NOBODY or stream in self._idle[self._nodes[stream]]:
                return
            own = self._nodes[stream]
            self._loads[own].work -= ticket.work
            arrivals = [line[0].arrival if line else None for line in self._waiting]
            node = next_in_line(arrivals, own)
            if node is None:
                self._idle[own].append(stream)
                return
            following = self._waiting[node].popleft()
            self._loads[node].work -= following.work
            self._loads[own].work += following.work
            following.stream = stream
            if following.called is not None:
                following.called.release()

    def close(self) -> None:
        """Refuse further callers; those in line are still served."""
        with self._lock:
            self._closed = True

    @property
    def closed(self) -> bool:
        """Whether callers are refused."""
        return self._closed

    @property
    def requests(self) -> list[int]:
        """Requests that came to each node."""
        return [load.requests for load in self._loads]

    @property
    def waiting(self) -> int:
        """Callers in line."""
        return sum(map(len, self._waiting))
