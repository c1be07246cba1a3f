"""Elastic engines on made-up memory nodes: whose weights, whose memory, whose turn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import lookup, perceptron, saved

from engine import Context, Engine, MultiModelEngine
from engine.api import plans as plans_module
from engine.machine.topology import Core, Topology, cpus_of_this_thread, topology
from engine.plan.build import Segment
from engine.runtime import crew as crew_module

pytestmark = pytest.mark.xdist_group("cores")
HERE = [core.cpu for core in topology().cores]
Nodes = Callable[[int, int], None]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """Makes this process see `count` nodes of `each` cores, which are those that are here, over and over."""

    def made(count: int, each: int) -> None:
        cores = (Core(HERE[i % len(HERE)], i // each, i // each, i // each) for i in range(count * each))
        found = Topology(tuple(cores), 1, None)
        for module in ("engine.api.placement", "engine.runtime.teams", "engine.machine.pinning"):
            monkeypatch.setattr(f"{module}.topology", lambda: found)

    return made


@pytest.mark.parametrize("count", [2, 4])
def test_requests_are_spread_evenly_and_answers_are_the_same(
    tmp_path: Path, nodes: Nodes, count: int
) -> None:
    path = saved(lookup(), tmp_path)
    inputs = [np.random.default_rng(0).integers(0, 300, (2, 16))]
    expected = Engine(path, 2, num_cores=1, input_shapes=[[2, 16]]).run(inputs)[0]
    nodes(count, 2)
    with Context() as context:
        engine = MultiModelEngine(path, 2, context, [[2, 16]])
        assert engine.num_streams == count
        wrong: list[int] = []

        def caller() -> None:
            wrong.extend(1 for _ in range(30) if not np.array_equal(engine.run(inputs)[0], expected))

        for _ in range(4 * count + 1):
            assert np.array_equal(engine.run(inputs)[0], expected)
        requests = context.value.streams.line.requests
        assert max(requests) - min(requests) <= 1
        threads = [threading.Thread(target=caller) for _ in range(2 * count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_each_node_has_its_own_weights_and_memory_put_there_by_itself(
    tmp_path: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory comes from the node of the thread that writes to it first."""
    path, where = saved(perceptron(), tmp_path), list[frozenset[int]]()
    nodes(2, 1)
    place, compile_plan = (vars(plans_module)[name] for name in ("build", "compile_plan"))

    def watched(make: Any) -> Any:
        def at(*arguments: Any) -> Any:
            where.append(cpus_of_this_thread())
            return make(*arguments)

        return at

    monkeypatch.setattr("engine.api.plans.build", watched(place))
    monkeypatch.setattr("engine.api.plans.compile_plan", watched(compile_plan))
    with Engine(path, 4, scheduler="elastic") as engine:
        found = engine._plans.find(((4, 6),))
        first, second = found.plans[0], found.plans[1]
        assert found.compiled[0].program is not found.compiled[1].program
        assert not np.shares_memory(first.memory[0], second.memory[0])
        packed = [{id(kept[1]) for kept in store._kept.values()} for store in engine._plans._stores]
        assert all(packed)
        assert not packed[0] & packed[1]
    if len(HERE) > 1 and len(cpus_of_this_thread()) > 1:
        assert where == [frozenset({HERE[0]}), frozenset({HERE[1]})]


def test_streams_of_one_node_share_its_weights(tmp_path: Path, nodes: Nodes) -> None:
    nodes(2, 2)
    with Engine(saved(perceptron(), tmp_path), 4, num_streams=4, scheduler="elastic") as engine:
        found = engine._plans.find(((4, 6),))
        assert sorted(found.compiled) == [0, 1]
        assert len(engine._plans._stores) == 2
        programs = [found.plans[stream].steps for stream in range(4)]
        assert programs[0] is programs[1]
        assert programs[2] is programs[3]
        assert programs[0] is not programs[2]


@pytest.mark.parametrize(
    ("scheduler", "streams", "members", "places"),
    [("single_stream", None, 65, 65), ("elastic", None, 17, 65), ("multi_stream", 32, 3, 65)],
)
def test_work_is_cut_for_one_stream_and_memory_is_there_for_all_who_may_help(
    tmp_path: Path,
    nodes: Nodes,
    monkeypatch: pytest.MonkeyPatch,
    scheduler: str,
    streams: int | None,
    members: int,
    places: int,
) -> None:
    nodes(4, 16)
    monkeypatch.setattr(crew_module.Crew, "start", lambda crew: None)
    with Engine(saved(perceptron(), tmp_path), 4, None, streams, scheduler) as engine:
        machine = engine._plans._machine
        assert (machine.members, machine.members + machine.helpers) == (members, places)
        inputs = engine.generate_random_inputs(0)
        plan = engine._plans.find(tuple(array.shape for array in inputs)).plans[0]
        segment = plan.stages[0]
        assert isinstance(segment, Segment)
        scratch = int(segment.request[3])
        assert len(plan.memory[0]) >= plan.arena_bytes + places * scratch
