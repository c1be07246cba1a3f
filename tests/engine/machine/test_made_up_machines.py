"""Topology, pinning and division of cores on machines we do not have."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_machines import MadeUp

from engine.errors import OptionError
from engine.machine.groups import divide, natural_streams
from engine.machine.pinning import asked_pinning, cpus_of
from engine.machine.topology import Core, Topology, read_topology

ONE = MadeUp()
TWO_BY_32 = MadeUp(nodes=2, cores_per_node=32, cores_per_cache=32, threads=2)
FOUR_NODES = MadeUp(nodes=4, cores_per_node=16, cores_per_cache=16)
CHIPLETS = MadeUp(nodes=2, cores_per_node=16, cores_per_cache=8)
V2, V2_ROOT, CGROUP = "sys/fs/cgroup/pod/cpu.max", "sys/fs/cgroup/cpu.max", "proc/self/cgroup"


def seen(machine: MadeUp, folder: Path, mask: range | set[int] | None = None) -> Topology:
    return read_topology(machine.write(folder), range(machine.cpus) if mask is None else mask)


@pytest.mark.parametrize(
    ("machine", "cores", "nodes", "threads", "streams"),
    [
        (ONE, 1, 1, 1, 1),
        (TWO_BY_32, 64, 2, 2, 2),
        (FOUR_NODES, 64, 4, 1, 4),
        (CHIPLETS, 32, 2, 1, 4),
        (MadeUp(cores_per_node=4, cores_per_cache=4, online="0,2-3"), 3, 1, 1, 1),
    ],
)
def test_cores_nodes_and_caches_are_found(
    tmp_path: Path, machine: MadeUp, cores: int, nodes: int, threads: int, streams: int
) -> None:
    found = seen(machine, tmp_path)
    assert len(found.cores) == found.available == cores
    assert len({core.node for core in found.cores}) == len({core.socket for core in found.cores}) == nodes
    assert found.threads_per_core == threads
    assert natural_streams(found.cores) == streams


def test_hyper_threads_are_used_when_asked_and_where_the_mask_leaves_one_of_two(tmp_path: Path) -> None:
    root = TWO_BY_32.write(tmp_path)
    assert len(read_topology(root, range(128), hyper_threads=True).cores) == 128
    assert [core.cpu for core in read_topology(root, {64, 65, 1}).cores] == [1, 64]


FENCES = [
    ({V2_ROOT: "150000 100000"}, 1.5, 2, 8),
    ({V2_ROOT: "max 100000"}, None, 8, 8),
    ({CGROUP: "0::/pod/box", V2: "300000 100000"}, 3.0, 3, 8),
    ({CGROUP: "0::/pod", V2: "300000 100000", V2_ROOT: "200000 100000"}, 2.0, 2, 8),
    ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000"}, 1.5, 2, 8),
    ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1"}, None, 8, 8),
    (
        {
            CGROUP: "4:cpu,cpuacct:/pod",
            "sys/fs/cgroup/cpu/pod/cpu.cfs_quota_us": "400000",
            "sys/fs/cgroup/cpu/pod/cpu.cfs_period_us": "200000",
        },
        2.0,
        2,
        8,
    ),
    ({"sys/fs/cgroup/cpuset.cpus.effective": "2-4"}, None, 3, 3),
    ({CGROUP: "3:cpuset:/pod", "sys/fs/cgroup/cpuset/pod/cpuset.cpus": "0,7"}, None, 2, 2),
    ({"sys/fs/cgroup/cpuset.cpus.effective": "90-95"}, None, 8, 8),
    ({V2_ROOT: "nonsense"}, None, 8, 8),
]


@pytest.mark.parametrize(("files", "quota", "available", "cores"), FENCES)
def test_control_groups_fence_the_cores_in(
    tmp_path: Path, files: dict[str, str], quota: float | None, available: int, cores: int
) -> None:
    found = seen(MadeUp(cores_per_node=8, cores_per_cache=8, files=tuple(files.items())), tmp_path)
    assert (found.quota, found.available, len(found.cores)) == (quota, available, cores)


def test_without_a_system_tree_the_mask_is_all_there_is(tmp_path: Path) -> None:
    found = read_topology(tmp_path, range(6))
    assert found == Topology(tuple(Core(cpu, 0, 0, -1) for cpu in range(6)), 1, None)


@pytest.mark.parametrize(
    ("machine", "streams", "sizes", "borders"),
    [
        (ONE, 1, [1], True),
        (TWO_BY_32, 2, [32, 32], True),
        (TWO_BY_32, 12, [6, 6, 5, 5, 5, 5] * 2, True),
        (CHIPLETS, 1, [32], True),
        (CHIPLETS, 2, [16, 16], True),
        (CHIPLETS, 4, [8] * 4, True),
        (CHIPLETS, 8, [4] * 8, True),
        (CHIPLETS, 32, [1] * 32, True),
        (MadeUp(nodes=2, cores_per_node=8, cores_per_cache=8), 3, [6, 5, 5], False),
        (MadeUp(nodes=2, cores_per_node=12, cores_per_cache=4), 4, [6] * 4, True),
    ],
)
def test_streams_keep_to_the_borders_of_nodes_and_caches_where_the_count_allows_it(
    tmp_path: Path, machine: MadeUp, streams: int, sizes: list[int], borders: bool
) -> None:
    cores = seen(machine, tmp_path).cores
    groups = divide(cores, streams)
    assert [len(group) for group in groups] == sizes
    assert sorted(core.cpu for group in groups for core in group) == [core.cpu for core in cores]
    assert all(len({core.node for core in group}) == 1 for group in groups) is (
        (borders and streams > 1) or machine is ONE
    )


@pytest.mark.parametrize(
    ("pinning", "quota", "cpus"),
    [
        ("core", None, {17}),
        ("core", 4.0, {17}),
        ("numa", None, set(range(16, 32))),
        ("none", None, set()),
        ("core", 1.5, set()),
    ],
)
def test_pinning(tmp_path: Path, pinning: str, quota: float | None, cpus: set[int]) -> None:
    cores = seen(FOUR_NODES, tmp_path).cores
    assert cpus_of(cores[17], Topology(cores, 1, quota), pinning) == cpus


@pytest.mark.parametrize(
    ("variables", "pinning"),
    [
        ({}, "core"),
        ({"ENGINE_PIN": "0"}, "none"),
        ({"ENGINE_PIN": "NUMA"}, "numa"),
        ({"ENGINE_PIN": "1"}, "core"),
        ({"NM_BIND_THREADS_TO_SOCKETS": "1"}, "numa"),
        ({"NM_BIND_THREADS_TO_CORES": "0"}, "none"),
        ({"NM_BIND_THREADS_TO_CORES": "1", "ENGINE_PIN": "none"}, "none"),
    ],
)
def test_the_environment_names_the_pinning(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], pinning: str
) -> None:
    for name in ("ENGINE_PIN", "NM_BIND_THREADS_TO_CORES", "NM_BIND_THREADS_TO_SOCKETS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert asked_pinning() == pinning


def test_an_unknown_pinning_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_PIN", "socket")
    with pytest.raises(OptionError, match="ENGINE_PIN"):
        asked_pinning()
