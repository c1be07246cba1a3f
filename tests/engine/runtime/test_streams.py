"""Streams: requests side by side, idle workers that help, workers that die, limits, threads that end."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any

import pytest
from team_plans import built, chain, cores, expected, run_chain, wait_for_word

from engine.errors import DeadlineError, RequestCancelledError, WorkerError
from engine.jit import compiled
from engine.kernels.simd.memory import read_i64
from engine.machine.atomics import add_word, exchange_word, load_word
from engine.machine.waiting import give_way
from engine.plan.table import CLAIMS
from engine.runtime import crew as crew_module
from engine.runtime.limits import limits_of
from engine.runtime.mailbox import BUSY, COUNTERS, RAISED, SEQUENCE, STOP
from engine.runtime.streams import Streams
from engine.runtime.team import Team
from engine.runtime.worker import work

pytestmark = pytest.mark.xdist_group("cores")


def streams_of_one_core(count: int) -> Streams:
    return Streams(tuple((core,) for core in cores(count)))


def in_thread(team: Team, plan: Any) -> threading.Thread:
    thread = threading.Thread(target=team.run, args=(plan, plan.stages[0].address))
    thread.start()
    return thread


def test_requests_of_two_streams_overlap() -> None:
    """Each ends only when the other has begun."""
    streams = streams_of_one_core(2)
    plans = [built(chain(1, 1, wait_for_word), streams.members) for _ in range(2)]
    for plan in plans:
        plan.outputs[0][1][0] = 0
        plan.inputs[0][1][0] = 0
    threads = [in_thread(team, plan) for team, plan in zip(streams.teams, plans, strict=True)]
    busy = streams.crew.shared.mailboxes[:, 9]
    while busy.sum() < 2:
        time.sleep(0)
    for plan in plans:
        plan.inputs[0][1][0] = 1
    for thread in threads:
        thread.join()
    assert [plan.outputs[0][1][0] for plan in plans] == [1, 1]
    streams.close()


def test_an_idle_streams_worker_takes_tiles_of_a_busy_one() -> None:
    """Two tiles that wait: the caller can be inside one of them only."""
    streams = streams_of_one_core(2)
    plan = built(chain(1, 2, wait_for_word), streams.members)
    plan.inputs[0][1][0] = 0
    plan.outputs[0][1][0] = 0
    thread = in_thread(streams.teams[0], plan)
    words = streams.crew.shared.bells[:, BUSY // 8]
    mailbox = streams.crew.shared.mailbox(0)
    while words[1] != mailbox:
        time.sleep(0)
    while int(plan.counters["claims"][0][0]) & 0xFFFFFFFF < 2:
        time.sleep(0)
    plan.inputs[0][1][0] = 1
    thread.join()
    assert plan.outputs[0][1][0] == 2
    streams.close()


def test_every_tile_runs_once_whoever_helps() -> None:
    streams = streams_of_one_core(3)
    plans = [built(chain(9, 5), streams.members) for _ in range(3)]
    wrong: list[int] = []

    def calls(stream: int) -> None:
        for turn in range(150):
            run_chain(streams.teams[stream], plans[stream])
            if plans[stream].outputs[-1][1][0] != expected(9, 5)[-1]:
                wrong.append(turn)
            if turn % 10 == stream:
                time.sleep(0.002)  # idle long enough to help others

    threads = [threading.Thread(target=calls, args=(stream,)) for stream in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    streams.close()
    assert not wrong


@compiled("i64", "i64", "i64", result="void")
def _claim_and_die(mailbox: int, bell: int, member: int) -> None:
    """A worker that claims a tile of the first request that it is rung for, and ends."""
    while load_word(bell + RAISED) == 0:
        give_way()
    add_word(bell + BUSY, mailbox)
    claimed = 0
    while claimed == 0 and load_word(bell + STOP) == 0:
        for part in range(2):
            word = read_i64(mailbox + COUNTERS) + CLAIMS + 8 * part
            claim = load_word(word)
            fresh = claim >> 32 == load_word(mailbox + SEQUENCE) and claim & 0xFFFFFFFF <= part
            if claimed == 0 and fresh:
                claimed = exchange_word(word, claim, claim + 1)


@compiled("i64", "i64", "i64", result="void")
def _leave(mailbox: int, bell: int, member: int) -> None:
    return


def test_a_worker_that_dies_at_work_fails_its_request_and_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two tiles, a part each: the caller is held in one until the worker that took the other is gone."""
    team = Team(cores(2))
    plan = built(chain(1, 2, wait_for_word), team.members)
    plan.inputs[0][1][0] = 0
    monkeypatch.setattr(crew_module, "work", _claim_and_die)
    failed: list[str] = []

    def call() -> None:
        with pytest.raises(WorkerError) as caught:
            team.run(plan, plan.stages[0].address)
        failed.append(str(caught.value))

    thread = threading.Thread(target=call)
    thread.start()
    while not team._shared.gone:
        time.sleep(0)
    plan.inputs[0][1][0] = 1
    thread.join()
    assert "worker thread died" in failed[0]
    team.stop()
    monkeypatch.setattr(crew_module, "work", work)
    plan.outputs[0][1][0] = 0
    team.run(plan, plan.stages[0].address)
    assert plan.outputs[0][1][0] == 2
    team.stop()


def test_a_worker_that_dies_idle_is_replaced_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    team = Team(cores(3))
    plan = built(chain(4, 5), team.members)
    monkeypatch.setattr(crew_module, "work", _leave)
    for turn in range(6):
        if turn == 3:
            monkeypatch.setattr(crew_module, "work", work)
        run_chain(team, plan)
        assert plan.outputs[-1][1][0] == expected(4, 5)[-1]
    team.stop()


def test_a_thread_that_cannot_be_started_leaves_the_work_to_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        message = f"can't start {thread.name}"
        raise RuntimeError(message)

    team = Team(cores(3))
    plan = built(chain(4, 5), team.members)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    run_chain(team, plan)
    assert plan.outputs[-1][1][0] == expected(4, 5)[-1]


def test_a_deadline_and_a_cancellation_end_a_request_between_steps() -> None:
    team = Team(cores(2))
    plan = built(chain(2, 1, wait_for_word), team.members)
    for limit, error in (("deadline", DeadlineError), ("cancelled", RequestCancelledError)):
        plan.inputs[0][1][0] = 0
        cancelled = threading.Event()
        limits = limits_of(0.001 if limit == "deadline" else None, cancelled)

        def release(cancelled: threading.Event = cancelled, limit: str = limit) -> None:
            if limit == "cancelled":
                cancelled.set()
            plan.inputs[0][1][0] = 1

        # The first step ends only after the limit, and leaves 0 for the second, which nobody can finish for long.
        timers = [threading.Timer(0.02, release), threading.Timer(0.5, plan.outputs[0][1].fill, (1,))]
        plan.outputs[0][1][0] = -1
        for timer in timers:
            timer.start()
        with pytest.raises(error):
            team.run(_Kept(plan), plan.stages[0].address, limits)
        for timer in timers:
            timer.join()
    team.stop()


class _Kept:
    """An owner that can be watched."""

    def __init__(self, plan: Any) -> None:
        self.plan = plan


def test_threads_end_with_the_last_who_has_the_streams() -> None:
    streams = streams_of_one_core(2)
    plan = built(chain(3, 3), streams.members)
    run_chain(streams.teams[0], plan)
    threads = streams.crew.threads
    assert len(threads) == 2
    del streams
    gc.collect()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_released_teams_hold_no_plan() -> None:
    team = Team(cores(2))
    plan = built(chain(3, 3), team.members)
    owner = _Kept(plan)
    for _ in range(3):
        team.run(owner, plan.stages[0].address)
    watched = weakref.ref(owner)
    del owner
    assert watched() is not None
    team.release()
    assert watched() is None
    run_chain(team, plan)
    team.stop()
