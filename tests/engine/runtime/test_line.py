"""The line before the streams: order of arrival, idle streams, nodes, limits."""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import pytest

from engine.errors import ClosedError, DeadlineError, OptionError, RequestCancelledError
from engine.machine.topology import cpus_of_this_thread
from engine.runtime.limits import Limits, limits_of
from engine.runtime.line import NOBODY, Line, Ticket
from engine.runtime.policy import NodeLoad, choose_node, next_in_line


def enter(line: Line, work: float = 1.0, limits: Limits | None = None) -> Ticket:
    ticket = Ticket(work)
    assert line.enter(ticket, limits) == ticket.stream
    return ticket


def stand_in_line(line: Line, number: int, order: list[int]) -> threading.Thread:
    """A thread that is in line when this returns."""

    def caller() -> None:
        ticket = Ticket()
        line.enter(ticket)
        order.append(number)
        line.leave(ticket)

    before, thread = line.waiting, threading.Thread(target=caller)
    thread.start()
    while line.waiting == before:
        time.sleep(0)
    return thread


@pytest.mark.parametrize("nodes", [[0], [0, 0], [0, 1]])
def test_callers_are_served_in_order_of_arrival(nodes: list[int]) -> None:
    line, order = Line(nodes), list[int]()
    taken = [enter(line) for _ in nodes]
    assert sorted(ticket.stream for ticket in taken) == list(range(len(nodes)))
    free = taken[0].stream
    threads = [stand_in_line(line, number, order) for number in range(6)]
    line.leave(taken[0])
    for thread in threads:
        thread.join()
    if len(nodes) == 1 or nodes == [0, 0]:
        assert order == list(range(6))
    assert sorted(order) == list(range(6))
    assert line.waiting == 0
    line.leave(taken[0])
    assert enter(line).stream == free


@pytest.mark.parametrize("count", [2, 4])
def test_requests_are_spread_over_the_nodes(count: int) -> None:
    line = Line([node for node in range(count) for _ in range(2)])
    for turn in range(3 * count + 1):
        for ticket in [enter(line) for _ in range(1 + turn % count)]:
            line.leave(ticket)
    assert max(line.requests) - min(line.requests) <= 1


def test_a_request_goes_where_the_least_work_is() -> None:
    cases = [
        ([(2, 1.0, 5), (2, 0.5, 9)], 1),
        ([(2, 1.0, 5), (1, 0.6, 0)], 0),
        ([(1, 0.0, 5), (1, 0.0, 4)], 1),
        ([(1, 0.0, 4), (1, 0.0, 4)], 0),
    ]
    for loads, node in cases:
        assert choose_node([NodeLoad(*load) for load in loads]) == node


def test_an_idle_stream_takes_the_oldest_of_its_node_then_of_all() -> None:
    assert next_in_line([5, 1, None], 0) == 0
    assert next_in_line([None, 7, 3], 0) == 2
    assert next_in_line([None, None], 1) is None


def test_a_stream_of_an_idle_node_serves_another_nodes_line() -> None:
    line, order = Line([0, 1]), list[int]()
    first, second = enter(line, 1.0), enter(line, 9.0)
    threads = [stand_in_line(line, number, order) for number in range(2)]
    line.leave(second)
    for thread in threads:
        thread.join()
    assert sorted(order) == [0, 1]
    line.leave(first)


def test_a_deadline_and_a_cancellation_end_the_waiting() -> None:
    line = Line([0])
    ticket, cancelled = enter(line), threading.Event()
    with pytest.raises(DeadlineError):
        enter(line, limits=limits_of(0, None))
    cancelled.set()
    with pytest.raises(RequestCancelledError):
        enter(line, limits=limits_of(None, cancelled))
    assert line.waiting == 0
    line.leave(ticket)
    assert enter(line, limits=Limits(0.0)).stream == 0, "nobody waits: the runner looks at the limits"


@pytest.mark.parametrize("timeout", [-1, "1", True, float("nan")])
def test_bad_timeouts_are_refused(timeout: object) -> None:
    with pytest.raises(OptionError, match="timeout"):
        limits_of(timeout, None)  # type: ignore[arg-type]


def test_a_closed_line_serves_who_waits_and_refuses_who_comes() -> None:
    line, order = Line([0]), list[int]()
    ticket = enter(line)
    thread = stand_in_line(line, 1, order)
    line.close()
    line.leave(ticket)
    thread.join()
    assert order == [1]
    with pytest.raises(ClosedError):
        enter(line)


class Interrupted(BaseException):
    """As KeyboardInterrupt, but ours."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interrupts at will")
def test_interrupts_anywhere_lose_no_stream_and_give_none_twice() -> None:
    """As an engine uses the line: whatever comes, the ticket is handed back; that once may be interrupted too."""
    line, ended, wrong = Line([0, 0, 1]), threading.Event(), list[int]()
    owners: list[Ticket | None] = [None] * 3
    source = random.Random(5)

    def use(ticket: Ticket) -> None:
        stream = line.enter(ticket)
        owners[stream] = ticket
        wrong.extend([stream] if owners[stream] is not ticket or ticket.stream != stream else [])
        line.leave(ticket)

    def beside() -> None:
        while not ended.is_set():
            use(Ticket(0.5))

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    threads = [threading.Thread(target=beside) for _ in range(4)]
    for thread in threads:
        thread.start()
    count = 0
    for _ in range(4000):
        ticket = Ticket()
        try:
            signal.setitimer(signal.ITIMER_REAL, source.uniform(1e-6, 60e-6))
            use(ticket)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupted:
            count += 1
            line.leave(ticket)
        assert ticket.stream == NOBODY
    signal.signal(signal.SIGALRM, before)
    ended.set()
    for thread in threads:
        thread.join()
    assert count > 0
    assert not wrong
    assert line.waiting == 0
    assert sorted(enter(line).stream for _ in range(3)) == [0, 1, 2]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads cannot be held to cores here")
def test_who_waited_is_held_to_the_streams_cores_and_free_again_afterwards() -> None:
    cpu, mine = min(cpus_of_this_thread()), cpus_of_this_thread()
    line, seen = Line([0, 0], [frozenset({cpu})] * 2), list[frozenset[int]]()
    taken = [enter(line), enter(line)]
    assert cpus_of_this_thread() == mine

    def caller() -> None:
        ticket = Ticket()
        line.enter(ticket)
        seen.append(cpus_of_this_thread())
        line.leave(ticket)
        seen.append(cpus_of_this_thread())

    thread = threading.Thread(target=caller)
    thread.start()
    while not line.waiting:
        time.sleep(0)
    line.leave(taken[0])
    thread.join()
    assert seen == [frozenset({cpu}), mine]
    line.leave(taken[1])


def test_streams_are_never_given_twice_and_none_is_lost() -> None:
    line, held, wrong = Line([0, 0, 1]), set[int](), list[int]()
    guard = threading.Lock()

    def caller(seed: int) -> None:
        source = random.Random(seed)
        for _ in range(200):
            cancelled = threading.Event()
            if source.random() < 0.3:
                cancelled.set()
            try:
                ticket = enter(line, source.random(), Limits(None, cancelled))
            except RequestCancelledError:
                continue
            stream = ticket.stream
            with guard:
                wrong.extend([stream] if stream in held else [])
                held.add(stream)
            with guard:
                held.discard(stream)
            line.leave(ticket)

    threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(enter(line).stream for _ in range(3)) == [0, 1, 2]
