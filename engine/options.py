"""Every environment variable the engine reads, in one table.

Values are read when they are needed, once; a bad value is an OptionError that names the variable.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine.errors import OptionError


@dataclass(frozen=True, slots=True)
class Option:
    """One variable: its name, what it may be, and a sentence on what it does."""

    name: str
    values: str
    meaning: str


OPTIONS = (
    Option("ENGINE_ISA", "a level's name", "compile for a lower instruction set than the machine's"),
    Option("NM_ARCH", "avx2, avx512, neon", "the predecessor's name for ENGINE_ISA"),
    Option(
        "ENGINE_COMPILE_ONLY", "a level's name, + features", "compile to assembly that is read, never run"
    ),
    Option("ENGINE_CACHE_DIR", "a folder", "where compiled code is kept; 'off' keeps none"),
    Option("ENGINE_PACKED_CACHE", "0 or 1", "keep packed weights in the cache folder (default 1)"),
    Option("ENGINE_PACKED_CACHE_MB", "an integer", "size of packed weights on disk at most (default 4096)"),
    Option("ENGINE_KERNEL", "a family's name", "use this family of product kernels wherever it fits"),
    Option("ENGINE_CUT_BATCHES", "0 or 1", "compute large batches in parts that fit the caches (default 1)"),
    Option("ENGINE_CHECK", "0 or 1", "verify the graph after every family of passes"),
    Option(
        "ENGINE_PIN", "core, numa, none, 1 or 0", "where worker threads may run (default core, which is 1)"
    ),
    Option("NM_BIND_THREADS_TO_CORES", "0 or 1", "the predecessor's name for ENGINE_PIN=core"),
    Option("NM_BIND_THREADS_TO_SOCKETS", "0 or 1", "the predecessor's name for ENGINE_PIN=numa"),
    Option("ENGINE_HYPER_THREADS", "0 or 1", "take every hardware thread for a core (default 0)"),
    Option(
        "ENGINE_PLANS", "an integer", "plans kept per engine, one for each set of input shapes (default 8)"
    ),
    Option(
        "SPARSELANE_ZOO", "a folder", "own copies of zoo models, `<folder>/<stub without zoo:>/model.onnx`"
    ),
    Option("ENGINE_ZOO", "a folder", "the same, where SPARSELANE_ZOO is not set"),
    Option("ENGINE_STUBS", "a file", "the table that `python -m engine.models add` writes"),
    Option("SPARSEZOO_MODELS_PATH", "a folder", "the predecessor's downloads, read only"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable that is set, and its value without blanks."""

    name: str
    value: str


def environment_option(*names: str) -> Setting | None:
    """The first of these variables that is set and not empty."""
    for name in names:
        value = os.environ.get(name, "").strip()
        if value:
            return Setting(name, value)
    return None


def environment_flag(name: str, *, default: bool) -> bool:
    """A variable that is 0 or 1. Raises OptionError for anything else."""
    setting = environment_option(name)
    if setting is None:
        return default
    if setting.value not in ("0", "1"):
        message = f"{name} must be 0 or 1; got {setting.value!r}."
        raise OptionError(message)
    return setting.value == "1"


def environment_int(name: str, default: int, *, least: int) -> int:
    """A variable that is an integer of at least `least`. Raises OptionError for anything else."""
    setting = environment_option(name)
    if setting is None:
        return default
    try:
        number = int(setting.value)
    except ValueError:
        number = least - 1
    if number < least:
        message = f"{name} must be an integer of at least {least}; got {setting.value!r}."
        raise OptionError(message)
    return number


def cache_directory() -> Path | None:
    """The folder of all caches, not yet made; None when ENGINE_CACHE_DIR is 'off'."""
    setting = environment_option("ENGINE_CACHE_DIR")
    if setting is not None:
        return None if setting.value.lower() == "off" else Path(setting.value).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or (Path.home() / ".cache")
    return Path(base) / "sparselane"
