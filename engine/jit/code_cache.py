"""Compiled code on disk, stamped with everything it depends on.

Numba's own key is the time stamp of the one source file; a change in an imported module or in an
intrinsic goes unseen. Ours is a hash over all sources of the compiled rooms and the versions of
Python, Numba and llvmlite; CPU name and features are part of Numba's key already.

    <cache>/code/<stamp>/<kernel name>-<hash>.nbi, .nbc

Everything here degrades to "no cache": a read-only folder, a full disk, a corrupt or foreign file.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.runtime._nrt_python import c_helpers

from engine.options import cache_directory

COMPILED_ROOMS = ("jit", "machine", "kernels", "runtime")


@functools.cache
def source_stamp() -> str:
    """Hash over the compiled rooms and the compilers' versions."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(f"{sys.version_info[:2]} {numba.__version__} {llvmlite.__version__}".encode())
    root = Path(__file__).resolve().parent.parent
    for room in COMPILED_ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def _file_stamp(path: str) -> str:
    """Hash over one source: a function may stand outside of the compiled rooms."""
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=12).hexdigest()


def _own_stamp(function: Callable[..., Any]) -> str:
    path = Path(function.__code__.co_filename)
    root = Path(__file__).resolve().parent.parent
    is_stamped = any(path.is_relative_to(root / room) for room in COMPILED_ROOMS)
    return "" if is_stamped or not path.is_file() else _file_stamp(str(path))


@functools.cache
def code_folder() -> Path | None:
    """A writable folder for this stamp, made on first use; None when there can be none."""
    base = cache_directory()
    if base is None:
        return None
    folder = base / "code" / source_stamp()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return folder if folder.is_dir() and os.access(folder, os.R_OK) else None
    _drop_stale(folder)
    return folder


def _drop_stale(current: Path) -> None:
    """Keep the four newest stamps: other versions of the package may be in use beside this one."""
    with contextlib.suppress(OSError):
        stamps = sorted((f for f in current.parent.iterdir() if f.is_dir()), key=lambda f: f.stat().st_mtime)
        for folder in stamps[:-4]:
            if folder != current:
                shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _tell_runtime_symbols() -> None:
    """Let LLVM know the functions of Numba's runtime: it ends the process over a name that it cannot resolve."""
    for name, address in c_helpers.items():
        llvm.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)


class _Locator:
    """Where Numba's cache machinery finds our files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._py_file = name  # read by Numba for a warning's place

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return source_stamp()

    def get_disambiguator(self) -> str:
        return hashlib.blake2b(self._name.encode(), digest_size=6).hexdigest()

    def ensure_cache_path(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)


def open_cache(name: str, function: Callable[..., Any]) -> FunctionCache | None:
    """The disk cache of one compiled function, known by its full name; None where nothing can be kept.

    name    unique in the package: it stands for the closure's constants, which are in no other key
    """
    folder = code_folder()
    if folder is None:
        return None
    return _StampedCache(function, _Locator(folder, name), name)


class _Impl(CompileResultCacheImpl):  # type: ignore[misc]
    def __init__(self, locator: _Locator, name: str) -> None:
        self._lineno = 0
        self._locator = locator
        self._filename_base = self.get_filename_base(name, getattr(sys, "abiflags", ""))


class _StampedCache(FunctionCache):  # type: ignore[misc]
    """Numba's function cache with our place and our key; no failure of the disk leaves it."""

    def __init__(self, function: Callable[..., Any], locator: _Locator, name: str) -> None:
        self._kernel_name = (name, _own_stamp(function))
        self._impl_class = lambda _function: _Impl(locator, name)
        super().__init__(function)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (sig, codegen.magic_tuple(), self._kernel_name)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        # Numba first makes its context ready to compile: 50 MB and 0.3 s that code from the disk never needs. The
        # compiler makes it ready itself.
        _tell_runtime_symbols()
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)

    @contextlib.contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        # Unpickling foreign or truncated bytes may raise anything at all; the remedy is always to compile.
        with contextlib.suppress(Exception):
            yield
