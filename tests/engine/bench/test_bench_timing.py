"""Calls against the clock, and the figures made of them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from engine.bench.timing import repeat, summarise, take_turn


def test_a_turn_has_at_least_one_call_and_spans_follow_one_another() -> None:
    calls: list[int] = []
    spans = repeat(lambda: calls.append(1), 0.0)
    assert len(spans) == len(calls) == 1
    spans = take_turn(lambda: calls.append(1), 0.01, 0.0, 1)
    assert len(calls) == 1 + len(spans)
    edges = np.ravel(spans)
    assert (np.diff(edges) >= 0).all()


def test_warm_up_is_not_recorded() -> None:
    calls: list[int] = []
    spans = take_turn(lambda: calls.append(1), 0.0, 1e-9, 1)
    assert (len(spans), len(calls)) == (1, 2)


def test_callers_run_side_by_side() -> None:
    meeting = threading.Barrier(3)
    spans = take_turn(meeting.wait, 0.0, 0.0, 3)
    assert len(spans) == 3
    assert max(start for start, _ in spans) <= min(end for _, end in spans)
    assert spans == sorted(spans)


def test_what_a_caller_raises_is_raised() -> None:
    def fail() -> None:
        raise LookupError

    for callers in (1, 2):
        with pytest.raises(LookupError):
            take_turn(fail, 0.0, 0.0, callers)


def test_figures_of_two_turns_leave_out_the_time_between() -> None:
    turns = [[(0.0, 0.1), (0.1, 0.3)], [(9.0, 9.1), (9.1, 9.2)]]
    summary = summarise(turns, 4)
    assert summary.seconds_ran == pytest.approx(0.5)
    assert summary.items_per_second == pytest.approx(4 * 4 / 0.5)
    assert summary.iterations == 4
    assert summary.mean == pytest.approx(125)
    assert summary.median == pytest.approx(100)
    assert summary.std == pytest.approx(np.std([100, 200, 100, 100]))
    assert summary.least == pytest.approx(100)


def test_side_by_side_calls_count_once_for_the_wall_clock() -> None:
    summary = summarise([[(0.0, 1.0), (0.1, 0.9)]], 1)
    assert summary.seconds_ran == 1.0
    assert summary.items_per_second == 2.0


def test_exported_keys() -> None:
    keys = list(summarise([[(0.0, 1.0)]], 1).as_json("singlestream"))
    assert keys == [
        "scenario", "items_per_sec", "seconds_ran", "iterations", "median", "mean", "std",
        "25.0%", "50.0%", "75.0%", "90.0%", "95.0%", "99.0%", "99.9%",
    ]  # fmt: skip
