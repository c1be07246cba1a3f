"""What the machine says of itself, and what we make of odd answers."""

from __future__ import annotations

import os

import pytest

from engine.machine.topology import (
    Core,
    Topology,
    cache_bytes,
    l2_bytes,
    parse_cpu_list,
    pin_this_thread,
    topology,
)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0", [0]), ("0-3,8", [0, 1, 2, 3, 8]), ("", []), ("x", []), ("2-2", [2]), ("5,1", [5, 1])],
)
def test_cpu_lists_are_read(text: str, cpus: list[int]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize(("quota", "available"), [(None, 4), (0.5, 1), (2.0, 2), (2.5, 3), (64.0, 4)])
def test_the_quota_limits_the_cores(quota: float | None, available: int) -> None:
    assert Topology(tuple(Core(i, 0, 0) for i in range(4)), 1, quota).available == available


def test_cores_are_within_the_affinity_mask() -> None:
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    assert topology().cores
    assert {core.cpu for core in topology().cores} <= allowed


def test_pinning_to_a_cpu_that_is_not_there_is_refused_without_an_error() -> None:
    assert pin_this_thread(100_000) is False


def test_cache_sizes_are_plausible_or_unknown() -> None:
    assert cache_bytes(1) is None or 4096 <= (cache_bytes(1) or 0) <= 1 << 20
    assert l2_bytes() >= 1 << 16
    assert cache_bytes(9) is None
