"""Kernels of levels that may not be here: compiled to assembly, whose instructions are read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import CACHE

from engine.jit.code_cache import source_stamp


@dataclass(frozen=True)
class Reading:
    """What a level's assembly must show, by family, and must not show anywhere (regular expressions)."""

    level: str
    required: dict[str, tuple[str, ...]]
    forbidden: str


_TILES = (r"ldtilecfg\s", r"tileloadd\s", r"tileloaddt1\s", r"tilestored\s", r"tilerelease")
READINGS = (
    Reading(
        "amx",
        {
            "amx_int8": (*_TILES, r"tdpbsud\s"),
            "amx_int8_compressed": (*_TILES, r"tdpbsud\s", r"vpexpandb\s.*%zmm\d+ \{%k\d\} \{z\}", "popcnt"),
            "amx_bf16": (*_TILES, r"tdpbf16ps\s"),
            "amx_bf16_compressed": (*_TILES, r"tdpbf16ps\s", r"vpexpandw\s"),
            "amx_f32": (*_TILES, r"tdpbf16ps\s"),
            "amx_f32_compressed": (*_TILES, r"tdpbf16ps\s", r"vpexpandw\s"),
            "attention_u8_tiles": (
                *(name for name in _TILES if "t1" not in name),
                r"tilezero\s",
                r"tdpbusd\s",
                r"tdpbsud\s",
            ),
            "peak_tile_int8": (r"ldtilecfg\s", r"tilezero\s", r"tdpbsud\s", r"tilerelease"),
            "peak_tile_bf16": (r"ldtilecfg\s", r"tilezero\s", r"tdpbf16ps\s", r"tilerelease"),
            "dense_int8": (r"vpdpbusd\s.*%zmm",),
            "dense_f32": (r"vfmadd\w+ps\s.*%zmm",),
        },
        r"tdpbssd|tdpbuud",
    ),
    Reading(
        "avx_vnni",
        {
            "dense_int8": (r"\{vex\}\s+vpdpbusd\s.*%ymm",),
            "block4_int8": (r"\{vex\}\s+vpdpbusd\s.*%ymm",),
            "dense_f32": (r"vfmadd\w+ps\s.*%ymm",),
        },
        r"%zmm|%tmm|%[xy]mm(1[6-9]|2\d|3[01])|%k[0-7]\b",
    ),
    Reading(
        "neon",
        {
            "dense_int8": (r"sdot\s+v\d+\.4s",),
            "block4_int8": (r"sdot\s+v\d+\.4s",),
            "dense_f32": (r"fmla\s+v\d+\.4s",),
        },
        r"usdot|\bz\d+\.[bhsd]\b",
    ),
    Reading("neon+i8mm", {"dense_int8": (r"usdot\s+v\d+\.4s",)}, r"\bsdot|\bz\d+\.[bhsd]\b"),
    Reading("avx512_vnni", {"dense_int8": (r"vpdpbusd\s.*%zmm",)}, r"%tmm|tilecfg|tilerelease"),
)


def _texts(level: str, *families: str) -> dict[str, str]:
    """Assembly by kernel name; made by a process of its own, and kept while the sources stay as they are."""
    folder = CACHE / "assembly" / source_stamp() / "-".join([level, *sorted(families)])
    done = folder / "done"
    if not done.is_file():
        names = [f"{family}__" for family in families]
        environment = {**os.environ, "ENGINE_COMPILE_ONLY": level, "ENGINE_CACHE_DIR": "off"}
        environment.pop("ENGINE_ISA", None)
        command = [sys.executable, "-m", "engine.assembly", str(folder), *names]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        done.touch()
    return {path.stem: path.read_text() for path in folder.glob("*.s")}


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.level)
def test_the_instructions_that_matter_are_there(reading: Reading) -> None:
    texts = _texts(reading.level, *reading.required)
    for family, patterns in reading.required.items():
        found = {name: text for name, text in texts.items() if name.startswith(f"{family}__")}
        assert found, f"no kernel of {family} at {reading.level}"
        for name, text in found.items():
            assert [pattern for pattern in patterns if not re.search(pattern, text)] == [], name
            assert re.search(reading.forbidden, text) is None, name


def test_the_peak_of_tiles_is_products_alone() -> None:
    texts = _texts("amx", *READINGS[0].required)
    for name in ("peak_tile_int8", "peak_tile_bf16"):
        (text,) = (text for found, text in texts.items() if found.startswith(f"{name}__"))
        assert len(re.findall(r"\stdp\w+\s", text)) % 4 == 0, name
        assert re.search(r"tileloadd|tilestored", text) is None, name


def test_a_tile_kernel_configures_once_and_releases() -> None:
    for name, text in _texts("amx", *READINGS[0].required).items():
        if name.startswith(("amx_", "attention_u8_tiles")):
            assert len(re.findall(r"\sldtilecfg\s", text)) == 1, name
            assert len(re.findall(r"\stilerelease\s", text)) == 1, name


def _tile_operations(text: str) -> str:
    """l for a tile load, p for a product, v for a vector instruction, in the order of the text."""
    kinds = ((r"tileload", "l"), (r"tdp", "p"), (r"v", "v"))
    found = (line.strip() for line in text.splitlines() if line.startswith("\t"))
    return "".join(next((kind for word, kind in kinds if line.startswith(word)), "") for line in found)


def test_a_step_loads_its_tiles_then_works_on_vectors_and_multiplies_last() -> None:
    for name, text in _texts("amx", *READINGS[0].required).items():
        if name.startswith(("amx_int8", "amx_bf16")):
            columns = 1 if "panel16" in name else 2
            operations = _tile_operations(text)
            assert set(re.findall("p+", operations)) == {"p" * 2 * columns}, name
            assert "l" * (2 + columns) + "v" in operations, name


def test_sixteen_lanes_load_and_multiply_no_second_column() -> None:
    for name, text in _texts("amx", *READINGS[0].required).items():
        if name.startswith("amx_") and "panel16" in name:
            assert not re.search(r"%tmm[137]\b", text), name


@pytest.mark.slow
@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.level)
def test_every_kernel_compiles_for_the_level(reading: Reading) -> None:
    texts = _texts(reading.level)
    assert len(texts) > 50
    assert [name for name, text in texts.items() if re.search(reading.forbidden, text)] == []


def _refused(probe: str, level: str) -> str:
    environment = {**os.environ, "ENGINE_COMPILE_ONLY": level}
    done = subprocess.run(
        [sys.executable, "-c", probe], env=environment, check=False, capture_output=True, text=True
    )
    return done.stderr


def test_what_was_compiled_to_be_read_is_not_run() -> None:
    probe = "from engine.kernels.dense_f32.rows import ROW; ROW.kernels[16].load()"
    assert "ENGINE_COMPILE_ONLY is set" in _refused(probe, "avx2")


def test_an_unknown_level_is_refused() -> None:
    probe = "from engine.kernels.dense_f32.rows import ROW; ROW.kernels[16].assembly()"
    assert "ENGINE_COMPILE_ONLY=avx3 names no level" in _refused(probe, "avx3")


def test_without_the_variable_there_is_nothing_to_write(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "engine.assembly", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "ENGINE_COMPILE_ONLY" in done.stderr
