"""`python -m engine.warm`: compile every kernel of the active level into the cache, and say how long each took."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time

from engine import kernels
from engine.jit import Kernel, active_level
from engine.jit.code_cache import code_folder
from engine.kernels.row import ProductRow


def _kernels_in(value: object) -> list[Kernel]:
    if isinstance(value, Kernel):
        return [value]
    if isinstance(value, ProductRow):
        return list(value.kernels.values())
    if isinstance(value, dict):
        return [kernel for entry in value.values() for kernel in _kernels_in(entry)]
    return []


def all_kernels() -> dict[str, Kernel]:
    """Every kernel of the kernel rooms, by name."""
    found: dict[str, Kernel] = {}
    for module in pkgutil.walk_packages(kernels.__path__, f"{kernels.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            found |= {kernel.name: kernel for kernel in _kernels_in(value)}
    return found


def main() -> int:
    """Compile all; returns the process's exit code."""
    started = time.perf_counter()
    every = all_kernels()
    for name, kernel in sorted(every.items()):
        kernel.load()
        state = "cached" if kernel.cache_hit else "compiled"
        sys.stdout.write(f"{kernel.compile_s:7.3f} s  {state:8}  {name}\n")
    total = time.perf_counter() - started
    sys.stdout.write(
        f"{len(every)} kernels for {active_level().name} in {total:.1f} s; kept in {code_folder()}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
