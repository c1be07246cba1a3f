"""The line before the streams: callers are served in order of arrival and sleep, outside of the interpreter's lock.

An interrupt may come after any call of the interpreter's, never between two plain assignments: what must not be torn
apart here is written without calls between, and `leave` may be called any number of times.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import ClosedError
from engine.machine.topology import cpus_of_this_thread, pin_thread
from engine.runtime.fork import renew_after_fork
from engine.runtime.limits import Limits
from engine.runtime.policy import NodeLoad, choose_node, next_in_line

NOBODY = -1


@dataclass(eq=False, slots=True)
class Ticket:
    """A caller's turn: what its request is expected to take, in seconds say, and the stream that is its own now.

    arrival, node, called   of a caller in line: its number, before which node, what it sleeps on
    thread, cpus, held      the caller's native id, where it may run outside of the engine, whether it is held to less
    """

    work: float = 1.0
    stream: int = NOBODY
    arrival: int = 0
    node: int = 0
    called: threading.Lock | None = None
    thread: int = 0
    cpus: frozenset[int] = frozenset()
    held: bool = False


class Line:
    """Gives streams to callers.

    nodes   of each stream its memory node, 0 .. n - 1: callers line up before a node
    cpus    of each stream: who had to wait for it is held to them while it is his, because a caller that wakes up on
            the core of another stream would have to share it; none: callers run where the system puts them
    """

    def __init__(self, nodes: Sequence[int], cpus: Sequence[frozenset[int]] = ()) -> None:
        self._nodes, self._cpus = tuple(nodes), tuple(cpus)
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
        try:
            called = self._stand_in_line(ticket)
            if called is not None and limits is None:
                called.acquire()
            elif called is not None and limits is not None:
                limits.acquire(called)
        except BaseException:
            self.leave(ticket)
            raise
        return ticket.stream

    def _stand_in_line(self, ticket: Ticket) -> threading.Lock | None:
        """None when the ticket has a stream at once; else what to wait for."""
        with self._lock:
            if self._closed:
                message = "the context was closed; make a new one, and its engines."
                raise ClosedError(message)
            node = choose_node(self._loads) if len(self._loads) > 1 else 0
            if not self._idle[node]:
                node = next((n for n, idle in enumerate(self._idle) if idle), node)
            load, idle = self._loads[node], self._idle[node]
            if idle:
                load.requests += 1
                load.work += ticket.work
                ticket.stream = idle[-1]
                del idle[-1]
                return None
            if self._cpus:
                ticket.thread, ticket.cpus = threading.get_native_id(), cpus_of_this_thread()
            called = ticket.called = threading.Lock()
            called.acquire()
            ticket.arrival, ticket.node = self._arrivals, node
            self._arrivals += 1
            load.requests += 1
            load.work += ticket.work
            self._waiting[node] += [ticket]
            return called

    def leave(self, ticket: Ticket) -> None:
        """Give the ticket's stream to whoever has waited longest, or wait no longer; else there is nothing to do."""
        with self._lock:
            if ticket.stream != NOBODY:
                self._hand_on(ticket, ticket.stream)
            elif ticket.called is not None and ticket in self._waiting[ticket.node]:
                self._loads[ticket.node].work -= ticket.work
                self._waiting[ticket.node].remove(ticket)
        if ticket.held:
            pin_thread(ticket.thread, ticket.cpus)
            ticket.held = False

    def _hand_on(self, ticket: Ticket, stream: int) -> None:
        own = self._nodes[stream]
        arrivals = [line[0].arrival if line else None for line in self._waiting]
        node = next_in_line(arrivals, own)
        if node is None:
            self._loads[own].work -= ticket.work
            self._idle[own] += [stream]
            ticket.stream = NOBODY
            return
        line = self._waiting[node]
        following = line[0]
        self._hold(following, stream)
        self._loads[own].work += following.work - ticket.work
        self._loads[node].work -= following.work
        del line[0]
        ticket.stream, following.stream = NOBODY, stream
        if following.called is not None:
            following.called.release()

    def _hold(self, ticket: Ticket, stream: int) -> None:
        """Let the caller, asleep as yet, wake up on a core of its stream."""
        cpus = self._cpus[stream] & ticket.cpus if self._cpus else frozenset()
        if cpus:
            ticket.held = True
            pin_thread(ticket.thread, cpus)

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
