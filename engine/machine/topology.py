"""Cores this process may use: affinity mask, hyper-threads and container quota respected.

Nothing here ever fails: what cannot be read is taken as one socket with the cores the mask shows.
"""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import dataclass
from pathlib import Path

_CPU = Path("/sys/devices/system/cpu")
_NODE = Path("/sys/devices/system/node")


@dataclass(frozen=True, slots=True)
class Core:
    """One physical core: the hardware thread we use, its socket and its memory node."""

    cpu: int
    socket: int
    node: int


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


def _nodes() -> dict[int, int]:
    found: dict[int, int] = {}
    for folder in sorted(_NODE.glob("node[0-9]*")) if _NODE.is_dir() else []:
        for cpu in parse_cpu_list(_read(folder / "cpulist") or ""):
            found[cpu] = int(folder.name[4:])
    return found


def _quota() -> float | None:
    """Cores that the container's CPU quota allows (cgroup v2, then v1)."""
    text = _read(Path("/sys/fs/cgroup/cpu.max"))
    if text is not None:
        limit, _, period = text.partition(" ")
        return int(limit) / int(period or 100000) if limit.isdigit() else None
    limit_us = _number(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), -1)
    period_us = _number(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"), 100000)
    return limit_us / period_us if limit_us > 0 and period_us > 0 else None


@functools.cache
def topology() -> Topology:
    """Cores, memory nodes and quota, as this process may use them."""
    nodes, cores, seen, widest = _nodes(), [], set(), 1
    for cpu in _mask():
        folder = _CPU / f"cpu{cpu}" / "topology"
        siblings = parse_cpu_list(_read(folder / "thread_siblings_list") or "") or [cpu]
        widest = max(widest, len(siblings))
        if min(siblings) in seen:
            continue
        seen.add(min(siblings))
        cores.append(Core(cpu, max(0, _number(folder / "physical_package_id", 0)), nodes.get(cpu, 0)))
    return Topology(tuple(cores), widest, _quota())


def pin_this_thread(cpu: int) -> bool:
    """Keep the calling thread on one CPU; False where the system has no such thing or refuses."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {cpu})
        return True
    return False


@functools.cache
def cache_bytes(level: int, kind: str = "Data") -> int | None:
    """Bytes of the first core's cache of this level, a unified one included; None where the system does not say."""
    for folder in sorted((_CPU / "cpu0" / "cache").glob("index*")):
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
