"""Members that come late, leave early or die, against all that changes between two requests: each case is forced."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from team_plans import built, chain, cores, expected, run_chain, wait_for_word

from engine.errors import WorkerError
from engine.jit import compiled
from engine.kernels.simd.memory import read_i64
from engine.machine.atomics import exchange_word, load_word
from engine.machine.topology import Core, cpus_of_this_thread, pin_this_thread, topology
from engine.machine.waiting import give_way
from engine.plan.table import CLAIMS
from engine.runtime import crew as crew_module
from engine.runtime.mailbox import BUSY, COUNTERS, FROM, MAILBOX, PARTS, RAISED, SEQUENCE, STOP, TABLE, TO
from engine.runtime.streams import Streams
from engine.runtime.team import Team
from engine.runtime.worker import serve, work

pytestmark = pytest.mark.xdist_group("cores")
HERE = topology().cores


@compiled("i64", "i64")
def _serve(mailbox: int, bell: int) -> int:
    """As a worker that looks into this mailbox for the first time."""
    return serve(mailbox, bell, 1, 0, 0, 0)


def what_a_worker_read(team: Team) -> np.ndarray:
    """The mailbox as it is now: what a worker that falls asleep in `serve` goes on with, however much later."""
    found: np.ndarray = team._shared.mailboxes[0].copy()
    return found


def goes_on(team: Team, read: np.ndarray) -> None:
    _serve(read.ctypes.data, team._shared.bell(team.workers - 1 if team.workers else 0))


def _nothing(team: Team, plan: Any) -> None:
    """The request is over, and nothing followed."""


def _the_same_again(team: Team, plan: Any) -> None:
    run_chain(team, plan)


def _another_plan(team: Team, plan: Any) -> None:
    run_chain(team, built(chain(3, 9), team.members))


def _opened_but_not_begun(team: Team, plan: Any) -> None:
    """As far as a caller gets before it tells anybody: no tile is finished, claims are of the next generation."""
    generation = int(team._shared.mailboxes[0, SEQUENCE // 8]) + 2
    for step in range(len(plan.table)):
        plan.counters["done"][step] = 0
        plan.counters["claims"][step] = generation << 32
    for _, place in plan.outputs:
        place[...] = expected(len(plan.table), len(place))[0]


def _reset_halfway(team: Team, plan: Any) -> None:
    """The first counters are of the next request, the others still of the last."""
    generation = int(team._shared.mailboxes[0, SEQUENCE // 8]) + 2
    plan.counters["done"][:2] = 0
    plan.counters["claims"][:2] = generation << 32


@pytest.mark.parametrize(
    "since", [_nothing, _the_same_again, _another_plan, _opened_but_not_begun, _reset_halfway]
)
def test_a_member_that_overslept_a_request_takes_no_tile(since: Any) -> None:
    team = Team(cores(2))
    plan = built(chain(5, 6), team.members)
    run_chain(team, plan)
    team.stop()
    read = what_a_worker_read(team)
    since(team, plan)
    before = [place.copy() for _, place in plan.outputs]
    goes_on(team, read)
    assert all(np.array_equal(place, was) for (_, place), was in zip(plan.outputs, before, strict=True))
    run_chain(team, plan)
    assert plan.outputs[-1][1][0] == expected(5, 6)[-1]
    team.stop()


def test_a_member_that_overslept_an_abandoned_request_takes_no_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tiles were never taken: only the closed claims keep a late member from them."""
    team = Team(cores(1))
    plan = built(chain(4, 3), team.members)
    for _, place in plan.outputs:
        place[...] = 0
    read: list[np.ndarray] = []

    def interrupted(mailbox: int, request: int, slice_ticks: int) -> int:
        words = team._shared.mailboxes[0]
        words[TABLE // 8 : TO // 8 + 1] = plan.stages[0].request
        words[SEQUENCE // 8] = 2
        plan.counters["claims"][:] = 2 << 32
        read.append(what_a_worker_read(team))
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.runtime.team._begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        team.run(plan, plan.stages[0].address)
    monkeypatch.undo()
    goes_on(team, read[0])
    assert not any(place.any() for _, place in plan.outputs)
    run_chain(team, plan)
    assert plan.outputs[-1][1][0] == expected(4, 3)[-1]


def test_a_mailbox_that_is_being_written_is_not_followed() -> None:
    """An odd number: the other words may belong to no request at all."""
    mailbox, bell = np.zeros(MAILBOX // 8, np.int64), np.zeros(8, np.int64)
    mailbox[SEQUENCE // 8], mailbox[TO // 8], mailbox[PARTS // 8] = 7, 100, 1
    assert _serve(mailbox.ctypes.data, bell.ctypes.data) == 7
    assert not bell.any()


def test_an_interrupt_before_a_request_begins_leaves_no_plan_in_the_mailbox(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next request lets go of what the mailbox named: no late worker may find it there."""
    team = Team(cores(2))
    plans = [built(chain(2, 3), team.members) for _ in range(2)]
    run_chain(team, plans[0])
    keep = team._keep

    def interrupted(owner: Any) -> None:
        keep(owner)
        raise KeyboardInterrupt

    monkeypatch.setattr(team, "_keep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_chain(team, plans[1])
    words = team._shared.mailboxes[0]
    assert (words[FROM // 8], words[TO // 8], words[SEQUENCE // 8] & 1) == (0, 0, 1)
    team.stop()


@compiled("i64", "i64", "i64", result="void")
def _claim_a_tile_and_end(mailbox: int, bell: int, member: int) -> None:
    """A worker that claims one of eight tiles of the first request that it is rung for, and ends at work."""
    while load_word(bell + RAISED) == 0 and load_word(bell + STOP) == 0:
        give_way()
    counters, claimed = read_i64(mailbox + COUNTERS), 0
    while counters != 0 and claimed == 0 and load_word(bell + STOP) == 0:
        for part in range(2):
            word = counters + CLAIMS + 8 * part
            claim = load_word(word)
            fresh = claim >> 32 == load_word(mailbox + SEQUENCE) and claim & 0xFFFFFFFF < 4 * (part + 1)
            if claimed == 0 and fresh:
                claimed = exchange_word(word, claim, claim + 1)


def test_a_death_is_told_though_another_stream_replaced_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    four = cores(4)
    streams = Streams((four[:2], four[2:]))
    # Who else takes tiles is held in them, and one is left for the worker that dies.
    plan, other = built(chain(1, 8, wait_for_word), streams.members), built(chain(3, 3), streams.members)
    plan.inputs[0][1][0] = 0
    failed: list[str] = []

    def dies(mailbox: int, bell: int, member: int) -> None:
        if mailbox != streams.crew.shared.mailbox(0):
            work(mailbox, bell, member)
            return
        _claim_a_tile_and_end(mailbox, bell, member)
        streams.crew.shared.bells[member - 1, BUSY // 8] = mailbox

    monkeypatch.setattr(crew_module, "work", dies)

    def call() -> None:
        with pytest.raises(WorkerError) as caught:
            streams.teams[0].run(plan, plan.stages[0].address)
        failed.append(str(caught.value))

    thread = threading.Thread(target=call)
    thread.start()
    while streams.crew.shared.mailbox(0) not in streams.crew.shared.lost:
        time.sleep(0)
    while not streams.crew.shared.gone:
        time.sleep(0)
    monkeypatch.setattr(crew_module, "work", work)
    run_chain(streams.teams[1], other)
    assert streams.crew.complete
    plan.inputs[0][1][0] = 1
    thread.join()
    assert "worker thread died" in failed[0]
    streams.close()


@pytest.fixture
def away() -> Iterator[Streams]:
    """Two streams on two memory nodes; this thread is on the second one's core."""
    if len(HERE) < 2 or not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs two cores and threads that can be held to one")
    mine = cpus_of_this_thread()
    pin_this_thread(HERE[1].cpu)
    streams = Streams(((Core(HERE[0].cpu, 0, 0),), (Core(HERE[1].cpu, 1, 1),)), elastic=True)
    yield streams
    streams.close()
    pin_this_thread(*mine)


def test_a_caller_on_another_node_sleeps_while_the_workers_there_do_everything(away: Streams) -> None:
    plan = built(chain(40, 1, wait_for_word), away.members)
    plan.inputs[0][1][0] = 0
    for _, place in plan.outputs:
        place[...] = 0
    timer = threading.Timer(0.3, plan.inputs[0][1].__setitem__, (0, 1))
    timer.start()
    began, used = time.monotonic(), time.thread_time()
    away.teams[0].run(plan, plan.stages[0].address)
    used, took = time.thread_time() - used, time.monotonic() - began
    timer.join()
    assert all(place[0] == 1 for _, place in plan.outputs)
    assert used < 0.05 * took


def test_a_caller_on_another_node_does_the_work_where_no_worker_can(
    away: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        message = f"can't start {thread.name}"
        raise RuntimeError(message)

    plan = built(chain(4, 5), away.members)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    run_chain(away.teams[0], plan)
    assert plan.outputs[-1][1][0] == expected(4, 5)[-1]


def test_requests_of_closed_streams_start_no_workers() -> None:
    streams = Streams(tuple((core,) for core in cores(2)))
    plan = built(chain(4, 5), streams.members)
    run_chain(streams.teams[0], plan)
    streams.close()
    run_chain(streams.teams[0], plan)
    assert plan.outputs[-1][1][0] == expected(4, 5)[-1]
    assert not streams.crew.threads
