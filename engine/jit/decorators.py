"""The three ways a Python function becomes machine code here.

    kernel      void(i64 args, i64 tile_begin, i64 tile_end, i64 scratch), called by address from the walker; or, with
                as many i64 as it says, called by address from other kernels
    compiled    called from Python with integers, without the GIL
    inner       called from the two above, inlined by LLVM

All are compiled for the active level, allocate nothing and raise nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba.core import types
from numba.core.ccallback import CFunc

from engine.jit.code_cache import open_cache
from engine.jit.target import TARGET, LevelDispatcher, active_level, check_level, compile_only_level

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = {"nopython": True, "nogil": True, "error_model": "numpy", "boundscheck": False}
_NO_ENTRY = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class _CFunc(CFunc):  # type: ignore[misc]
    _targetdescr = TARGET


class Kernel:
    """A compiled step, or a part of several; compiled, or read from the cache, when its address is first asked for.

    name        `<family>_<types>__<tile>__<level>`: unique, shown in profiles, part of the cache key
    scratch     bytes of private memory that a call needs: the plan gives each member of the team this much
    """

    def __init__(self, name: str, function: Callable[..., Any], arguments: int = 4) -> None:
        self.name = name
        self.compile_s = 0.0
        self.cache_hit = False
        self._function = function
        self._signature = ((types.int64,) * arguments, types.void)
        self._compiled: _CFunc | None = None
        self._lock = threading.Lock()

    @property
    def address(self) -> int:
        """Address of the C function."""
        return cast(int, self.load().address)

    def load(self) -> _CFunc:
        """Compile, or read from the cache."""
        with self._lock:
            if self._compiled is None:
                check_level()
                started = time.perf_counter()
                made = self._uncompiled()
                cache = open_cache(self.name, self._function)
                if cache is not None:
                    made._cache = cache  # noqa: SLF001 - Numba offers no public way to place a cache
                made.compile()
                self._compiled = made
                self.cache_hit = bool(made.cache_hits)
                self.compile_s = time.perf_counter() - started
            return self._compiled

    def _uncompiled(self) -> _CFunc:
        return _CFunc(self._function, self._signature, locals={}, options=dict(_OPTIONS))

    def assembly(self) -> str:
        """The machine code's assembly text. Only of a kernel compiled in this process, or under ENGINE_COMPILE_ONLY."""
        if compile_only_level() is not None:
            return str(self._uncompiled()._compile_uncached().library.get_asm_str())  # noqa: SLF001
        return str(self.load()._library.get_asm_str())  # noqa: SLF001


def kernel(family: str, tile: str = "", *, arguments: int = 4) -> Callable[[Callable[..., None]], Kernel]:
    """Make a kernel; its full name is the family, the tile shape and the active level.

    arguments    of one that other kernels call and the walker does not; all are i64
    """

    def made(function: Callable[..., None]) -> Kernel:
        parts = [family, tile, active_level().name]
        return Kernel("__".join(part for part in parts if part), function, arguments)

    return made


def inner(function: Function) -> Function:
    """Make a function that kernels may call; it is compiled into them."""
    return cast(Function, LevelDispatcher(function, targetoptions=_OPTIONS | _NO_ENTRY))


def compiled(*arguments: str, result: str = "i64") -> Callable[[Function], Function]:
    """Make a function that Python calls with integers; compiled when the module is first used.

    arguments   one of "i64", "f32" each
    """
    kinds = {"i64": types.int64, "f32": types.float32, "void": types.void}

    def made(function: Function) -> Function:
        if compile_only_level() is not None:
            return function
        dispatcher = LevelDispatcher(function, targetoptions=dict(_OPTIONS))
        name = f"{function.__module__}.{function.__qualname__}__{active_level().name}"
        cache = open_cache(name, function)
        if cache is not None:
            dispatcher._cache = cache  # noqa: SLF001
        dispatcher.compile(kinds[result](*(kinds[a] for a in arguments)))
        dispatcher.disable_compile()
        return cast(Function, dispatcher)

    return made
