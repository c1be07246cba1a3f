"""Timers: stages, means, and what a pipeline keeps of its calls."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from pipelines import StagedTimer, TimerManager


def test_stages_are_kept_in_order_with_all_their_runs() -> None:
    timer = StagedTimer()
    for stage in ("first", "second", "first"):
        with timer.time(stage):
            pass
    assert timer.stages == ["first", "second"]
    assert [len(runs) for runs in timer.all_times.values()] == [2, 1]
    assert timer.times["first"] == pytest.approx(sum(timer.stage_times("first")) / 2)
    assert timer.stage_average_time("first") == timer.times["first"]
    assert timer.has_stage("first")
    assert not timer.has_stage("third")
    assert repr(timer).startswith("StagedTimer({'first': ")


def test_a_stage_ends_when_its_body_raises() -> None:
    timer = StagedTimer()
    with pytest.raises(KeyError), timer.time("stage"):
        raise KeyError
    timer.start("stage")
    timer.stop("stage")
    assert len(timer.stage_times("stage")) == 2


@pytest.mark.parametrize("steps", [("start", "start"), ("stop",), ("start", "stop", "stop")])
def test_starting_twice_and_stopping_unstarted_are_refused(steps: tuple[str, ...]) -> None:
    timer = StagedTimer()
    for step in steps[:-1]:
        getattr(timer, step)("stage")
    with pytest.raises(ValueError, match="stage"):
        getattr(timer, steps[-1])("stage")


def test_an_unknown_stage_has_no_times() -> None:
    with pytest.raises(ValueError, match="other"):
        StagedTimer().stage_times("other")


def test_a_cleared_timer_has_no_stages() -> None:
    timer = StagedTimer()
    with timer.time("stage"):
        pass
    timer.clear()
    assert timer.stages == []


def test_a_disabled_timer_measures_nothing() -> None:
    timer = StagedTimer(enabled=False)
    with timer.time("stage"):
        pass
    assert timer.all_times == {}


@pytest.mark.parametrize(("multi", "kept"), [(False, 1), (True, 3)])
def test_a_manager_keeps_the_last_timer_or_all(multi: bool, kept: int) -> None:
    manager = TimerManager(multi=multi)
    for _ in range(3):
        with manager.measure_call() as timer:
            assert manager.current is timer
    assert manager.current is None
    assert len(manager.timers) == kept
    assert manager.latest is manager.timers[-1]
    assert manager.stages == ["total_inference"]
    assert len(manager.all_times["total_inference"]) == kept
    assert manager.times["total_inference"] >= 0
    manager.clear()
    assert manager.latest is None


def test_each_thread_has_its_own_current_timer() -> None:
    manager, meeting = TimerManager(multi=True), Barrier(4)

    def call(_: int) -> int:
        with manager.measure_call() as timer:
            meeting.wait(timeout=30)
            return id(timer) if manager.current is timer else 0

    with ThreadPoolExecutor(4) as threads:
        seen = set(threads.map(call, range(4)))
    assert len(seen) == 4
    assert 0 not in seen
    assert len(manager.timers) == 4
