"""Instruction set levels, and a Numba target of our own that compiles for exactly one of them.

The target is private: a user's own `@njit` functions keep Numba's. One process compiles for one level,
the machine's or a lower one named by ENGINE_ISA (or the predecessor's NM_ARCH).

    generic < avx2 < avx_vnni        x86-64 without AVX-512
              avx2 < avx512 < avx512_vnni < amx
    generic < neon                   aarch64
"""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass

import llvmlite.binding as llvm
from numba.core.codegen import JITCPUCodegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.core.externals import c_math_functions
from numba.core.registry import CPUDispatcher, CPUTarget

from engine.errors import OptionError
from engine.options import Setting, environment_option

# Numba starts LLVM without an assembly parser; inline assembly would abort the process.
llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
llvm.initialize_native_asmparser()


@dataclass(frozen=True, slots=True)
class IsaLevel:
    """What a level demands of the CPU, and what the compiler is told when it is forced.

    needs     LLVM feature names, all present on the machine
    cpu       LLVM CPU name used when a lower level than the machine's is asked for
    features  added to that CPU
    registers vector registers of `width` bytes
    """

    name: str
    arch: str
    needs: tuple[str, ...]
    cpu: str
    features: str
    width: int
    registers: int
    int8_dot: bool


_AVX2 = ("avx2", "fma")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl")

# Best last: the machine's level is the last one whose needs are met.
LEVELS = (
    IsaLevel("generic", "any", (), "", "", 16, 16, False),
    IsaLevel("neon", "arm64", ("neon", "dotprod"), "", "", 16, 32, True),
    IsaLevel("avx2", "x86_64", _AVX2, "x86-64-v3", "", 32, 16, False),
    IsaLevel("avx_vnni", "x86_64", (*_AVX2, "avxvnni"), "x86-64-v3", "+avxvnni", 32, 16, True),
    IsaLevel("avx512", "x86_64", _AVX512, "x86-64-v4", "", 64, 32, False),
    IsaLevel("avx512_vnni", "x86_64", (*_AVX512, "avx512vnni"), "x86-64-v4", "+avx512vnni", 64, 32, True),
)

_ARCHITECTURES = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def known_levels() -> tuple[str, ...]:
    """Names of all levels, weakest first."""
    return tuple(level.name for level in LEVELS)


@functools.cache
def cpu_features() -> frozenset[str]:
    """LLVM's names of the features this CPU and its operating system offer."""
    try:
        found = llvm.get_host_cpu_features()
    except RuntimeError:
        return frozenset()
    return frozenset(name for name, present in found.items() if present)


def _offered() -> list[IsaLevel]:
    arch = _ARCHITECTURES.get(platform.machine(), "other")
    return [
        level for level in LEVELS if level.arch in ("any", arch) and cpu_features().issuperset(level.needs)
    ]


@functools.cache
def detected_level() -> IsaLevel:
    """The best level of this machine, by its feature flags, never by its name."""
    return _offered()[-1]


def check_level() -> None:
    """Raise OptionError when ENGINE_ISA names no level, or one that this machine lacks.

    Asked when something is to be compiled, not when the package is imported.
    """
    asked, offered = _asked(), [level.name for level in _offered()]
    if asked is not None and asked.value not in offered:
        message = (
            f"{asked.name}={asked.value} is not possible on this machine, which offers {', '.join(offered)}. "
            "Unset it, or name one of these."
        )
        raise OptionError(message)


def _asked() -> Setting | None:
    return environment_option("ENGINE_ISA", "NM_ARCH")


@functools.cache
def active_level() -> IsaLevel:
    """The level this process compiles for: the machine's, or the lower one that is asked for."""
    asked = _asked()
    named = [level for level in _offered() if asked is not None and level.name == asked.value]
    return named[0] if named else detected_level()


class _Codegen(JITCPUCodegen):  # type: ignore[misc]
    """Code generation for the active level alone."""

    def _is_native(self) -> bool:
        return active_level() is detected_level()

    def _get_host_cpu_name(self) -> str:
        return str(llvm.get_host_cpu_name()) if self._is_native() else active_level().cpu

    def _get_host_cpu_features(self) -> str:
        return str(llvm.get_host_cpu_features().flatten()) if self._is_native() else active_level().features


class _Context(CPUContext):  # type: ignore[misc]
    @global_compiler_lock  # type: ignore[untyped-decorator]
    def init(self) -> None:
        self.is32bit = False
        self._internal_codegen = _Codegen("sparselane.exec")
        c_math_functions.install(self)


class _Target(CPUTarget):  # type: ignore[misc]
    @functools.cached_property
    def _toplevel_target_context(self) -> _Context:
        return _Context(self.typing_context, self._target_name)


TARGET = _Target("cpu")


class LevelDispatcher(CPUDispatcher):  # type: ignore[misc]
    """Numba's dispatcher, compiling for the active level."""

    targetdescr = TARGET
