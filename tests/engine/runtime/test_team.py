"""The team: exact once-only execution of tiles, barriers, several callers, abandoned requests, forks."""

from __future__ import annotations

import multiprocessing
import os
import threading
from typing import Any

import pytest
from team_plans import built, chain, cores, expected, run_chain, wait_for_word

from engine.runtime import team as team_module
from engine.runtime.team import Team

pytestmark = pytest.mark.xdist_group("cores")


@pytest.mark.parametrize("members", [1, 2, 3, 5])
def test_every_tile_runs_once_and_after_what_it_needs(members: int) -> None:
    team = Team(cores(members))
    plan = built(chain(12, 7), team.members)
    want = expected(12, 7)
    for _ in range(300):
        run_chain(team, plan)
        assert [set(place) for _, place in plan.outputs] == [{value} for value in want]
    team.stop()


def test_plans_alternate_on_one_team() -> None:
    team = Team(cores(3))
    plans = [built(chain(steps, tiles), team.members) for steps, tiles in ((3, 5), (9, 2), (1, 50))]
    for turn in range(300):
        plan = plans[turn % 3]
        run_chain(team, plan)
        assert plan.outputs[-1][1][0] == expected(*((3, 5), (9, 2), (1, 50))[turn % 3])[-1]
    team.stop()


def test_callers_of_several_threads_queue() -> None:
    team = Team(cores(2))
    plans = [built(chain(6, 4), team.members) for _ in range(4)]
    wrong: list[int] = []

    def calls(plan: Any) -> None:
        for _ in range(100):
            run_chain(team, plan)
            if plan.outputs[-1][1][0] != expected(6, 4)[-1]:
                wrong.append(1)

    threads = [threading.Thread(target=calls, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    team.stop()
    assert not wrong


def test_an_interrupted_request_leaves_the_team_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    team = Team(cores(2))
    plan = built(chain(6, 4), team.members)
    begin = team_module._begin

    def interrupted(*arguments: int) -> int:
        begin(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(team_module, "_begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_chain(team, plan)
    monkeypatch.undo()
    run_chain(team, plan)
    assert plan.outputs[-1][1][0] == expected(6, 4)[-1]
    team.stop()


def test_the_interpreter_runs_on_while_a_request_computes() -> None:
    """The word that ends the step is set by another Python thread: a held GIL would hang here."""
    team = Team(cores(1))
    plan = built(chain(1, 1, wait_for_word), team.members)
    start = threading.Event()

    def release() -> None:
        start.wait()
        plan.inputs[0][1][0] = 1

    thread = threading.Thread(target=release)
    thread.start()
    plan.inputs[0][1][0] = 0
    start.set()
    run_chain(team, plan)
    thread.join()
    assert plan.outputs[0][1][0] == 1


def test_stopped_workers_start_again() -> None:
    team = Team(cores(2))
    plan = built(chain(3, 3), team.members)
    run_chain(team, plan)
    team.stop()
    run_chain(team, plan)
    assert plan.outputs[-1][1][0] == expected(3, 3)[-1]
    team.stop()


def _in_child(team: Team, plan: Any, answer: Any) -> None:
    run_chain(team, plan)
    answer.put(int(plan.outputs[-1][1][0]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_has_workers_of_its_own() -> None:
    team = Team(cores(2))
    plan = built(chain(3, 3), team.members)
    run_chain(team, plan)
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=_in_child, args=(team, plan, answer))
    child.start()
    assert answer.get(timeout=60) == expected(3, 3)[-1]
    child.join()
    team.stop()
