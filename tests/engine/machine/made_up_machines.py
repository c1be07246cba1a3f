"""Machines that are folders: what Linux shows of its CPUs, below a root of our own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MadeUp:
    """Cores in order of node and cache; hyper-threads are numbered after all cores, as Linux mostly does.

    cores_per_cache   cores that share a last-level cache
    online            the kernel's list; None: all
    files             further files below the root
    """

    nodes: int = 1
    cores_per_node: int = 1
    cores_per_cache: int = 1
    threads: int = 1
    online: str | None = None
    files: tuple[tuple[str, str], ...] = ()

    @property
    def cpus(self) -> int:
        return self.nodes * self.cores_per_node * self.threads

    def write(self, root: Path) -> Path:
        cores = self.nodes * self.cores_per_node
        for cpu in range(self.cpus):
            core, folder = cpu % cores, root / f"sys/devices/system/cpu/cpu{cpu}"
            first = core // self.cores_per_cache * self.cores_per_cache
            sharing = [core + t * cores for t in range(self.threads)]
            cache = [
                c + t * cores for t in range(self.threads) for c in range(first, first + self.cores_per_cache)
            ]
            _write(folder / "topology/physical_package_id", core // self.cores_per_node)
            _write(folder / "topology/thread_siblings_list", ",".join(map(str, sharing)))
            _write(folder / "cache/index3/level", 3)
            _write(folder / "cache/index3/shared_cpu_list", ",".join(map(str, cache)))
        for node in range(self.nodes):
            cpus = [
                core + t * cores
                for t in range(self.threads)
                for core in range(node * self.cores_per_node, (node + 1) * self.cores_per_node)
            ]
            _write(root / f"sys/devices/system/node/node{node}/cpulist", ",".join(map(str, cpus)))
        _write(root / "sys/devices/system/cpu/online", self.online or f"0-{self.cpus - 1}")
        for name, text in self.files:
            _write(root / name, text)
        return root


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{content}\n")
