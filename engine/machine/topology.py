"""Cores this process may use: affinity mask, cpuset, offline CPUs, hyper-threads and container quota respected.

Everything is read below a root folder, "/" but for made-up machines. Nothing here ever fails: what cannot be
read is taken as one socket with the cores the mask shows.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.options import environment_flag

_ROOT = Path("/")
_CPU = Path("sys/devices/system/cpu")
_NODE = Path("sys/devices/system/node")
_CGROUP = Path("sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Core:
    """One physical core: the hardware thread we use, its socket, its memory node, its last-level cache's first CPU."""

    cpu: int
    socket: int
    node: int
    cache: int = 0


@dataclass(frozen=True, slots=True)
class Topology:
    """Physical cores we may run on, in order of CPU number, and the container's quota in cores (None: no limit)."""

    cores: tuple[Core, ...]
    threads_per_core: int
    quota: float | None

    @property
    def available(self) -> int:
        """Cores to use when the user names no number: the quota, rounded up, is a limit too."""
        count = len(self.cores)
        return count if self.quota is None else max(1, min(count, -int(-self.quota // 1)))


def _read(path: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return None


def _number(path: Path, default: int) -> int:
    text = _read(path)
    return int(text) if text is not None and text.lstrip("-").isdigit() else default


def parse_cpu_list(text: str) -> list[int]:
    """The kernel's list form: "0-3,8" is 0 1 2 3 8."""
    cpus: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.strip().isdigit():
            cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def _mask() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _usable(root: Path, mask: Iterable[int]) -> list[int]:
    """CPUs of the mask that are online and within the cpusets; the mask itself where none would be left."""
    cpus = sorted(set(mask))
    texts = [_read(root / _CPU / "online")]
    texts += [_read(folder / "cpuset.cpus.effective") for folder in _groups(root, "")]
    texts += [_read(folder / "cpuset.cpus") for folder in _groups(root, "cpuset")]
    for text in texts:
        allowed = set(parse_cpu_list(text or ""))
        cpus = [cpu for cpu in cpus if cpu in allowed] or cpus
    return cpus


def _nodes(root: Path) -> dict[int, int]:
    found: dict[int, int] = {}
    folders = root / _NODE
    for folder in sorted(folders.glob("node[0-9]*")) if folders.is_dir() else []:
        for cpu in parse_cpu_list(_read(folder / "cpulist") or ""):
            found[cpu] = int(folder.name[4:])
    return found


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of those around it; `controller` is "" for the unified tree."""
    base = root / _CGROUP / controller
    own = ""
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller in controllers.split(","):
            own = path.strip("/")
    folder = base / own
    while folder != base and base in folder.parents:
        yield folder
        folder = folder.parent
    yield base


def _quota(root: Path) -> float | None:
    """Cores that the CPU quotas of the control groups allow (version 2, then 1); the narrowest counts."""
    found = []
    for folder in _groups(root, ""):
        limit, _, period = (_read(folder / "cpu.max") or "").partition(" ")
        if limit.isdigit():
            found.append(int(limit) / int(period or 100000))
    for folder in _groups(root, "cpu"):
        limit_us = _number(folder / "cpu.cfs_quota_us", -1)
        period_us = _number(folder / "cpu.cfs_period_us", 100000)
        if limit_us > 0 and period_us > 0:
            found.append(limit_us / period_us)
    return min(found, default=None)


def _last_cache(cpu_folder: Path) -> int:
    """The first CPU of those that share this CPU's last-level cache, -1 where the system does not say."""
    caches = [
        (
            _number(folder / "level", 0),
            min(parse_cpu_list(_read(folder / "shared_cpu_list") or ""), default=-1),
        )
        for folder in (cpu_folder / "cache").glob("index*")
    ]
    return max(caches, default=(0, -1))[1]


def read_topology(root: Path, mask: Iterable[int], *, hyper_threads: bool = False) -> Topology:
    """The machine whose files lie below `root`, as a process with this affinity mask may use it.

    hyper_threads   take every hardware thread for a core of its own
    """
    nodes, cores, seen, widest = _nodes(root), [], set(), 1
    for cpu in _usable(root, mask):
        folder = root / _CPU / f"cpu{cpu}"
        siblings = parse_cpu_list(_read(folder / "topology/thread_siblings_list") or "") or [cpu]
        widest = max(widest, len(siblings))
        if min(siblings) in seen and not hyper_threads:
            continue
        seen.add(min(siblings))
        socket = max(0, _number(folder / "topology/physical_package_id", 0))
        cores.append(Core(cpu, socket, nodes.get(cpu, 0), _last_cache(folder)))
    return Topology(tuple(cores), 1 if hyper_threads else widest, _quota(root))


@functools.cache
def topology() -> Topology:
    """Cores, memory nodes and quota, as this process may use them."""
    hyper_threads = environment_flag("ENGINE_HYPER_THREADS", default=False)
    return read_topology(_ROOT, _mask(), hyper_threads=hyper_threads)


def pin_this_thread(*cpus: int) -> bool:
    """Keep the calling thread on these CPUs; False where the system has no such thing or refuses."""
    return pin_thread(0, cpus)


def pin_thread(thread: int, cpus: Iterable[int]) -> bool:
    """The same for a thread of this process by its native id, 0 for the calling one."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    with contextlib.suppress(OSError):
        os.sched_setaffinity(thread, cpus)
        return True
    return False


def cpus_of_this_thread() -> frozenset[int]:
    """The CPUs that the calling thread may run on; none where the system does not say."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


@functools.cache
def cache_bytes(level: int, kind: str = "Data") -> int | None:
    """Bytes of the first core's cache of this level, a unified one included; None where the system does not say."""
    for folder in sorted((_ROOT / _CPU / "cpu0" / "cache").glob("index*")):
        if _number(folder / "level", 0) == level and _read(folder / "type") in (kind, "Unified"):
            text = _read(folder / "size") or ""
            digits = text.rstrip("KM")
            return int(digits) * {"K": 1024, "M": 1024**2}.get(text[-1:], 1) if digits.isdigit() else None
    return None


def l2_bytes() -> int:
    """A core's L2, 1 MiB where the system does not say."""
    return cache_bytes(2) or 1024**2


@functools.cache
def vendor() -> str:
    """The CPU's vendor as it names itself, else "unknown"."""
    lines = (_read(Path("/proc/cpuinfo")) or "").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "unknown")
