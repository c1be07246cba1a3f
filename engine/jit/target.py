"""Instruction set levels, and a Numba target of our own that compiles for exactly one of them.

The target is private: a user's own `@njit` functions keep Numba's. One process compiles for one level,
the machine's or a lower one named by ENGINE_ISA (or the predecessor's NM_ARCH). With ENGINE_COMPILE_ONLY
it compiles for any level at all, to assembly text that is read and never run.

    generic < avx2 < avx_vnni        x86-64 without AVX-512
              avx2 < avx512 < avx512_vnni < amx
    generic < neon                   aarch64
"""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass, replace
from typing import Any

import llvmlite.binding as llvm
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.core.externals import c_math_functions
from numba.core.registry import CPUDispatcher, CPUTarget

from engine.errors import OptionError
from engine.jit.cross import AssemblyCodegen
from engine.jit.library import PrivateFunctions
from engine.jit.tile_permission import request_tiles
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
    tiles     whether it needs the operating system's permission for AMX tiles
    """

    name: str
    arch: str
    needs: tuple[str, ...]
    cpu: str
    features: str
    width: int
    registers: int
    int8_dot: bool
    tiles: bool = False

    @property
    def extension(self) -> str:
        """The family of its vectors by the predecessor's names: "avx512", "avx2", "neon" or "generic"."""
        if self.arch == "x86_64":
            return "avx512" if self.width == 64 else "avx2"
        return self.name


_AVX2 = ("avx2", "fma")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl")
_VNNI = (*_AVX512, "avx512vnni")
# What the CPUs with AMX have besides; rows that use it ask `active_features`.
_AMX_EXTRAS = "+avx512vnni,+avx512vbmi,+avx512vbmi2,+avx512bf16,+amx-tile,+amx-int8,+amx-bf16"
# In these the CPUs with VNNI differ.
_VNNI_EXTRAS = ("avx512vbmi", "avx512vbmi2", "avx512bf16")

# Best last: the machine's level is the last one whose needs are met.
LEVELS = (
    IsaLevel("generic", "any", (), "", "", 16, 16, False),
    IsaLevel("neon", "arm64", ("neon", "dotprod"), "", "+neon,+dotprod", 16, 32, True),
    IsaLevel("avx2", "x86_64", _AVX2, "x86-64-v3", "", 32, 16, False),
    IsaLevel("avx_vnni", "x86_64", (*_AVX2, "avxvnni"), "x86-64-v3", "+avxvnni", 32, 16, True),
    IsaLevel("avx512", "x86_64", _AVX512, "x86-64-v4", "", 64, 32, False),
    IsaLevel("avx512_vnni", "x86_64", _VNNI, "x86-64-v4", "+avx512vnni", 64, 32, True),
    IsaLevel(
        "amx", "x86_64", (*_VNNI, "amx-tile", "amx-int8"), "x86-64-v4", _AMX_EXTRAS, 64, 32, True, tiles=True
    ),
)

_TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
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


@functools.cache
def tile_permission() -> str:
    """Whether this process may use AMX tiles; the system is asked once, before the first tile instruction.

    "unsupported": no such CPU; "not asked": ENGINE_ISA names a lower level; "granted"; "denied".
    """
    if not cpu_features().issuperset(LEVELS[-1].needs):
        return "unsupported"
    asked = _asked()
    if asked is not None and asked.value != LEVELS[-1].name:
        return "not asked"
    return "granted" if request_tiles() else "denied"


def _offered() -> list[IsaLevel]:
    arch = _ARCHITECTURES.get(platform.machine(), "other")
    met = [
        level for level in LEVELS if level.arch in ("any", arch) and cpu_features().issuperset(level.needs)
    ]
    return [level for level in met if not level.tiles or tile_permission() != "denied"]


@functools.cache
def detected_level() -> IsaLevel:
    """The best level of this machine, by its feature flags, never by its name."""
    return _offered()[-1]


def check_level() -> None:
    """Raise OptionError when ENGINE_ISA names no level, or one that this machine lacks.

    Asked when something is to be compiled, not when the package is imported.
    """
    if compile_only_level() is not None:
        message = "ENGINE_COMPILE_ONLY is set: kernels are compiled to be read. Unset it to run them."
        raise OptionError(message)
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
def compile_only_level() -> IsaLevel | None:
    """The level that ENGINE_COMPILE_ONLY names, with its added features; None when it is not set.

    Raises OptionError when there is no such level.
    """
    setting = environment_option("ENGINE_COMPILE_ONLY")
    if setting is None:
        return None
    name, *added = setting.value.split("+")
    named = [level for level in LEVELS if level.name == name]
    if not named:
        message = f"ENGINE_COMPILE_ONLY={setting.value} names no level. Known: {', '.join(known_levels())}."
        raise OptionError(message)
    features = ",".join([*filter(None, [named[0].features]), *(f"+{feature}" for feature in added)])
    return replace(named[0], features=features)


def lowered(level: IsaLevel, present: frozenset[str]) -> IsaLevel:
    """A level below the machine's, with what the CPU has besides: one with AMX is not the oldest with avx512_vnni."""
    kept = [f"+{name}" for name in _VNNI_EXTRAS if name in present] if level.name == "avx512_vnni" else []
    return replace(level, features=",".join(filter(None, [level.features, *kept])))


@functools.cache
def active_level() -> IsaLevel:
    """The level this process compiles for: the machine's, or the lower one that is asked for."""
    readable = compile_only_level()
    if readable is not None:
        return readable
    asked = _asked()
    named = [level for level in _offered() if asked is not None and level.name == asked.value]
    if not named or named[0] is detected_level():
        return detected_level()
    return lowered(named[0], cpu_features())


@functools.cache
def active_features() -> frozenset[str]:
    """LLVM's names of what compiled code may use: all of the machine's at its own level, else the level's."""
    level = active_level()
    if _is_native():
        return cpu_features()
    return frozenset(level.needs) | {name.removeprefix("+") for name in level.features.split(",") if name}


def _is_native() -> bool:
    return active_level() is detected_level()


class _Library(PrivateFunctions, JITCodeLibrary):  # type: ignore[misc]
    """Numba's library in memory."""


class _Codegen(JITCPUCodegen):  # type: ignore[misc]
    """Code generation for the active level alone."""

    _library_class = _Library

    def _get_host_cpu_name(self) -> str:
        return str(llvm.get_host_cpu_name()) if _is_native() else active_level().cpu

    def _get_host_cpu_features(self) -> str:
        return str(llvm.get_host_cpu_features().flatten()) if _is_native() else active_level().features


class _Context(CPUContext):  # type: ignore[misc]
    @global_compiler_lock  # type: ignore[untyped-decorator]
    def init(self) -> None:
        self.is32bit = False
        readable = compile_only_level()
        if readable is not None:
            triple = _TRIPLES.get(readable.arch, llvm.get_process_triple())
            self._internal_codegen = AssemblyCodegen(triple, readable.cpu, readable.features)
            return
        self._internal_codegen = _Codegen("sparselane.exec")
        c_math_functions.install(self)

    def get_executable(self, library: Any, fndesc: Any, env: Any) -> Any:
        if compile_only_level() is not None or library.is_part:
            return [].append  # Numba wants a built-in function, a new one each time; nobody calls it
        return super().get_executable(library, fndesc, env)


class _Target(CPUTarget):  # type: ignore[misc]
    @functools.cached_property
    def _toplevel_target_context(self) -> _Context:
        return _Context(self.typing_context, self._target_name)


TARGET = _Target("cpu")


class LevelDispatcher(CPUDispatcher):  # type: ignore[misc]
    """Numba's dispatcher, compiling for the active level."""

    targetdescr = TARGET
