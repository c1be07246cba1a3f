"""The predecessor's CPU questions."""

from __future__ import annotations

import pytest

from engine import cpu


def test_architecture_is_a_read_only_dictionary_with_attributes() -> None:
    found = cpu.cpu_architecture()
    assert found is cpu.cpu_architecture()
    assert found["num_cores"] == found.num_cores >= 1
    assert found.num_available_physical_cores <= found.num_physical_cores
    with pytest.raises(AttributeError):
        found.vnni = True
    with pytest.raises(AttributeError, match="no CPU property"):
        _ = found.nothing


def test_details_agree_with_the_single_questions() -> None:
    cores, isa, vnni = cpu.cpu_details()
    assert cores == cpu.cpu_architecture().num_available_physical_cores
    assert vnni is cpu.cpu_vnni_compatible()
    assert cpu.cpu_avx512_compatible() is (isa == "avx512")
    assert cpu.cpu_avx2_compatible() is (isa in ("avx2", "avx512"))
    assert not cpu.cpu_neon_compatible() or isa == "neon"


def test_keys_of_the_predecessor_are_there() -> None:
    keys = {
        "architecture", "vendor", "vendor_id", "vendor_model", "isa", "vnni", "bf16", "vbmi", "vbmi2", "dotprod",
        "i8mm", "zen1", "num_sockets", "available_sockets", "available_num_sockets", "cores_per_socket",
        "available_cores_per_socket", "num_cores", "available_num_cores", "threads_per_core",
        "available_threads_per_core", "num_hw_threads", "available_num_hw_threads", "num_numa",
        "available_num_numa", "L1_data_cache_size", "L1_instruction_cache_size", "L2_cache_size", "L3_cache_size",
        "amx_int8", "amx_bf16", "amx_fp16", "avx_vnni", "avx512_fp16", "sve", "isa_level",
    }  # fmt: skip
    assert keys <= set(cpu.cpu_architecture())
