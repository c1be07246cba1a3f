"""What the CPU offers, by the predecessor's names. Nothing here ever fails on an odd machine."""

from __future__ import annotations

import functools
import platform
from typing import Any, NoReturn

from engine.jit.target import cpu_features, detected_level, tile_permission
from engine.machine.topology import cache_bytes, topology, vendor

VALID_VECTOR_EXTENSIONS = frozenset({"avx2", "avx512", "neon", "sve"})
_VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}


class Architecture(dict[str, Any]):
    """A dictionary whose keys are attributes too; attributes cannot be set."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            message = f"no CPU property {name!r}; known: {', '.join(sorted(self))}"
            raise AttributeError(message) from None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        message = f"CPU properties are read-only; {name} was not set"
        raise AttributeError(message)

    @property
    def threads_per_socket(self) -> int:
        return int(self["cores_per_socket"] * self["threads_per_core"])

    @property
    def num_threads(self) -> int:
        return int(self["num_hw_threads"])

    @property
    def num_physical_cores(self) -> int:
        return int(self["num_cores"])

    @property
    def num_available_physical_cores(self) -> int:
        return int(self["available_num_cores"])


def _flags() -> dict[str, bool]:
    found = cpu_features()
    names = {
        "vnni": ("avx512vnni", "avxvnni"),
        "bf16": ("avx512bf16", "bf16"),
        "vbmi": ("avx512vbmi",),
        "vbmi2": ("avx512vbmi2",),
        "dotprod": ("dotprod",),
        "i8mm": ("i8mm",),
        "amx_int8": ("amx-int8",),
        "amx_bf16": ("amx-bf16",),
        "amx_fp16": ("amx-fp16",),
        "avx_vnni": ("avxvnni",),
        "avx512_fp16": ("avx512fp16",),
        "sve": ("sve",),
    }
    return {key: any(flag in found for flag in flags) for key, flags in names.items()}


@functools.cache
def cpu_architecture() -> Architecture:
    """Names, instruction sets, cores and caches (bytes), as this process may use them."""
    seen = topology()
    sockets = len({core.socket for core in seen.cores}) or 1
    cores, threads = len(seen.cores), seen.threads_per_core
    counts = {
        "num_sockets": sockets,
        "cores_per_socket": max(1, cores // sockets),
        "num_cores": cores,
        "threads_per_core": threads,
        "num_hw_threads": cores * threads,
        "num_numa": len({core.node for core in seen.cores}) or 1,
    }
    available = {
        f"available_{key}": seen.available if key == "num_cores" else value for key, value in counts.items()
    }
    available["available_sockets"] = sockets
    return Architecture(
        architecture=platform.machine(),
        vendor=vendor(),
        vendor_id=_VENDORS.get(vendor(), vendor()),
        vendor_model=platform.processor() or platform.machine(),
        isa=detected_level().extension,
        isa_level=detected_level().name,
        amx_permission=tile_permission(),
        zen1=False,
        **_flags(),
        **counts,
        **available,
        L1_data_cache_size=cache_bytes(1, "Data"),
        L1_instruction_cache_size=cache_bytes(1, "Instruction"),
        L2_cache_size=cache_bytes(2),
        L3_cache_size=cache_bytes(3),
    )


def cpu_details() -> tuple[int, str, bool]:
    """(physical cores this process may use, vector extension, whether bytes have a dot product)."""
    found = cpu_architecture()
    return found.num_available_physical_cores, found.isa, found.vnni


def cpu_vnni_compatible() -> bool:
    """Whether bytes have a dot product."""
    return bool(cpu_architecture().vnni)


def cpu_avx512_compatible() -> bool:
    """Whether 64-byte vectors can be used."""
    return bool(cpu_architecture().isa == "avx512")


def cpu_avx2_compatible() -> bool:
    """Whether 32-byte vectors can be used; true with AVX-512 too."""
    return cpu_architecture().isa in ("avx2", "avx512")


def cpu_neon_compatible() -> bool:
    """Whether NEON vectors can be used."""
    return bool(cpu_architecture().isa == "neon")


def cpu_sve_compatible() -> bool:
    """Whether the CPU has SVE."""
    return bool(cpu_architecture().sve)


def cpu_quantization_compatible() -> bool:
    """Whether quantised models gain speed: with a dot product of bytes they do."""
    return bool(detected_level().int8_dot)
