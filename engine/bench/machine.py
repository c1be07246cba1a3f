"""What a figure is worth nothing without: the machine, its state, the versions."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path
from typing import Any

import psutil

from engine.jit import active_level, detected_level
from engine.machine.topology import topology

BUSY_PERCENT = 10.0


def describe_machine() -> dict[str, Any]:
    """CPU, cores, instruction set levels, system, Python, date: for the exported file."""
    return {
        "cpu": _cpu_name(),
        "cores": topology().available,
        "hardware_threads": os.cpu_count(),
        "isa": detected_level().name,
        "isa_in_use": active_level().name,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def other_load(seconds: float = 1.0) -> float:
    """Percent of one core that others keep busy, watched for so long while this process sleeps."""
    return psutil.cpu_percent(interval=seconds) * (os.cpu_count() or 1)


def load_warning(percent: float) -> str | None:
    """A sentence for a machine that is not idle, None for one that is."""
    if percent < BUSY_PERCENT:
        return None
    return f"other processes keep {percent:.0f} % of a core busy: figures will be too slow, and differ."
