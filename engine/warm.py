"""`python -m engine.warm`: compile every kernel of the active level into the cache, and say how long each took.

With --calibrate, the product kernels are then timed for some seconds: the choice between them rests on this
machine's own rates from then on.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from collections.abc import Sequence

from engine import kernels
from engine.calibration.calibrate import calibrate, summary
from engine.errors import OptionError, SparselaneError
from engine.jit import Kernel, active_level, check_level
from engine.jit.code_cache import code_folder
from engine.kernels.peak.rows import PeakRow
from engine.kernels.row import ProductRow
from engine.machine.rates import rates_file
from engine.options import cache_directory


def _kernels_in(value: object) -> list[Kernel]:
    if isinstance(value, Kernel):
        return [value]
    if isinstance(value, ProductRow):
        return [] if value.emulated else [*value.kernels.values(), *value.finishers.values()]
    if isinstance(value, PeakRow):
        return [value.kernel]
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile all, calibrate if asked to; returns the process's exit code."""
    parser = argparse.ArgumentParser("python -m engine.warm", description=__doc__)
    parser.add_argument("--calibrate", action="store_true", help="measure this machine's rates too")
    options = parser.parse_args(arguments)
    try:
        check_level()
        _check_folder()
        _compile()
        if options.calibrate:
            _calibrate()
    except SparselaneError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _check_folder() -> None:
    """Raise OptionError where nothing that is compiled could be kept: minutes for nothing."""
    if code_folder() is None:
        place = cache_directory() or "ENGINE_CACHE_DIR=off"
        message = f"{place} keeps nothing; set ENGINE_CACHE_DIR to a folder that can be written."
        raise OptionError(message)


def _calibrate() -> None:
    started = time.perf_counter()
    lines = summary(calibrate())
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.write(f"calibrated in {time.perf_counter() - started:.1f} s; kept in {rates_file()}\n")


def _compile() -> None:
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


if __name__ == "__main__":
    sys.exit(main())
