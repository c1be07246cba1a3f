"""What was measured on this machine, kept in the cache directory under the machine's identity.

    <cache>/rates/<identity>.json     {"format": 1, "machine": {...}, "rates": {family: {panel width: [number, ...]}}}

The identity covers what a rate depends on: level, CPU features, caches, cores, and the sources of the kernels.
A file that is damaged or made for another machine is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.jit import active_level
from engine.jit.code_cache import source_stamp
from engine.jit.target import cpu_features
from engine.machine.topology import cache_bytes, topology, vendor
from engine.options import cache_directory

FORMAT = 1

Numbers = tuple[float, ...]
Table = Mapping[str, Mapping[int, Numbers]]


def _machine() -> dict[str, Any]:
    return {
        "level": active_level().name,
        "vendor": vendor(),
        "features": sorted(cpu_features()),
        "cores": len(topology().cores),
        "caches": [cache_bytes(level) for level in (1, 2, 3)],
        "sources": source_stamp(),
    }


def rates_file() -> Path | None:
    """Where this machine's rates are kept; None when no cache is."""
    base = cache_directory()
    if base is None:
        return None
    text = json.dumps(_machine(), sort_keys=True).encode()
    return base / "rates" / f"{hashlib.blake2b(text, digest_size=12).hexdigest()}.json"


def read_rates(count: int) -> Table:
    """The rates measured on this machine, `count` numbers each; empty where there are none that can be used."""
    file = rates_file()
    if file is None:
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT or content["machine"] != _machine():
            return {}
        return {
            str(family): {int(width): _numbers(values, count) for width, values in table.items()}
            for family, table in content["rates"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _numbers(values: list[float], count: int) -> Numbers:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != count or not all(math.isfinite(n) and n >= 0 for n in numbers):
        message = "not the rates of a kernel"
        raise ValueError(message)
    return numbers


def write_rates(rates: Table) -> Path | None:
    """Keep the rates, atomically; the file, or None where nothing can be kept."""
    file = rates_file()
    if file is None:
        return None
    text = json.dumps({"format": FORMAT, "machine": _machine(), "rates": rates}, indent=1)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(".part", dir=file.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as part:
                part.write(text + "\n")
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return file
    return None
