"""A process that takes this CPU for one with AMX: features, the system's permission, and the instructions themselves.

Whoever has the folder `machine` in PYTHONPATH becomes one, and so do the processes it starts (its `sitecustomize`). At
its end each writes a line to the file that TILE_TRAPS_REPORT names: tile instructions executed, those that a processor
would have refused, and threads whose tiles are still configured.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from tile_traps import install

FOLDER = Path(__file__).resolve().parent / "machine"
REPORT = "TILE_TRAPS_REPORT"
# Set to anything: the system refuses tiles.
DENIAL = "TILE_TRAPS_DENIAL"
TILE_FEATURES = ("amx-tile", "amx-int8", "amx-bf16")
# What CPUs with AMX have besides, and code for them uses.
_COMPANIONS = ("avx512f", "avx512bw", "avx512vl", "avx512vnni", "avx512vbmi2", "avx512bf16")
_ARCH_PRCTL, _GET_PERMISSIONS, _REQUEST, _TILE_DATA = 158, 0x1022, 0x1023, 18


def reason_against() -> str | None:
    """Why there can be no such process here, if there is a reason."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return "tile instructions are trapped on Linux on x86-64 alone"
    features = llvm.get_host_cpu_features()
    if features.get("amx-tile"):
        return "this CPU has AMX itself: the tests that are meant run directly"
    missing = [name for name in _COMPANIONS if not features.get(name)]
    return f"this CPU lacks {', '.join(missing)}" if missing else None


def environment(report: Path, **variables: str) -> dict[str, str]:
    """The environment of such a process."""
    path = os.pathsep.join(filter(None, (str(FOLDER), os.environ.get("PYTHONPATH"))))
    inherited: Mapping[str, str] = {k: v for k, v in os.environ.items() if k not in ("ENGINE_ISA", "NM_ARCH")}
    cache = os.environ.get("ENGINE_CACHE_DIR", "off")
    kept = {"NUMBA_CACHE_DIR": str(Path(cache) / "tile_traps")} if cache != "off" else {}
    return {**inherited, **kept, "PYTHONPATH": path, REPORT: str(report), **variables}


def lines(report: Path) -> list[dict[str, int]]:
    """What the processes wrote as they ended."""
    return [json.loads(line) for line in report.read_text().splitlines()]


class _System(ctypes.CDLL):
    """The C library of a system that grants tiles to who asks, or to nobody."""

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        if name != "syscall":
            return found
        granted = False

        def syscall(number: int, *arguments: int) -> int:
            nonlocal granted
            if number != _ARCH_PRCTL or arguments[0] not in (_GET_PERMISSIONS, _REQUEST):
                return int(found(number, *arguments))
            if DENIAL in os.environ:
                return -1
            if arguments[0] == _REQUEST:
                granted = granted or arguments[1] == _TILE_DATA
            else:
                ctypes.c_uint64.from_address(arguments[1]).value = granted << _TILE_DATA | 0x2E7
            return 0

        return syscall


def begin() -> None:
    """Make this process one; before the engine is imported."""
    features = llvm.get_host_cpu_features()
    features.update(dict.fromkeys(TILE_FEATURES, True))
    llvm.get_host_cpu_features = lambda: features
    # Code is scheduled as for a CPU that has AMX; what this one lacks is named among the features, as lacking.
    llvm.get_host_cpu_name = lambda: "sapphirerapids"
    ctypes.CDLL = _System  # type: ignore[misc]
    traps = install()

    def report() -> None:
        counts = {"executed": traps.executed, "refused": traps.refused, "configured": traps.configured}
        with Path(os.environ[REPORT]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(counts) + "\n")

    if REPORT in os.environ:
        atexit.register(report)
