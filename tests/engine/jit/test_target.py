"""Levels, and what a process compiles for."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from engine.cpu import cpu_architecture
from engine.jit import active_level, detected_level, known_levels, target
from engine.jit.target import LEVELS, cpu_features

PROBE = """
from engine import OptionError
from engine.jit import active_level, check_level
try:
    check_level()
    print(active_level().name)
except OptionError as error:
    print("refused:", error)
"""


def _level_with(**environment: str) -> str:
    inherited = {k: v for k, v in os.environ.items() if k not in ("ENGINE_ISA", "NM_ARCH")}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_detected_level_is_the_best_whose_needs_are_met() -> None:
    level = detected_level()
    assert cpu_features().issuperset(level.needs)
    better = [other for other in LEVELS[LEVELS.index(level) + 1 :] if not other.tiles]
    assert all(level.arch != other.arch or not cpu_features().issuperset(other.needs) for other in better)
    assert set(active_level().needs) <= cpu_features()


@pytest.mark.parametrize("name", known_levels())
def test_a_level_is_taken_or_refused_by_name(name: str) -> None:
    level = next(level for level in LEVELS if level.name == name)
    possible = level.arch in ("any", detected_level().arch) and cpu_features().issuperset(level.needs)
    possible = possible and not (level.tiles and target.tile_permission() == "denied")
    answer = _level_with(ENGINE_ISA=name)
    assert answer == name if possible else answer.startswith(f"refused: ENGINE_ISA={name}")


def test_the_predecessors_variable_works_and_ours_wins() -> None:
    assert _level_with(NM_ARCH="generic") == "generic"
    assert _level_with(NM_ARCH="nonsense", ENGINE_ISA="generic") == "generic"
    assert _level_with(NM_ARCH="nonsense").startswith("refused: NM_ARCH=nonsense")


@pytest.mark.parametrize("name", known_levels())
def test_a_lower_level_with_dot_products_keeps_the_byte_permutes_of_the_cpu(name: str) -> None:
    level = next(level for level in LEVELS if level.name == name)
    lower = target.lowered(level, frozenset({"avx512vbmi", "avx512bf16", "amx-int8"}))
    added = set(lower.features.split(",")) - set(level.features.split(","))
    assert added == ({"+avx512vbmi", "+avx512bf16"} if name == "avx512_vnni" else set())
    assert target.lowered(level, frozenset()) == level


def test_a_lower_level_uses_none_of_the_wider_registers() -> None:
    if detected_level().width < 64:
        pytest.skip("this machine has no wider registers than the lower levels")
    probe = (
        "from engine.kernels.dense_f32.rows import ROW\n"
        "text = ROW.kernels[64].assembly()\n"
        "print('zmm' in text, 'ymm' in text)"
    )
    environment = {**os.environ, "ENGINE_ISA": "avx2", "ENGINE_CACHE_DIR": "off"}
    done = subprocess.run(
        [sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]


TILES = frozenset(LEVELS[-1].needs)


@pytest.mark.parametrize(
    ("asked", "granted", "permission", "is_offered"),
    [("", True, "granted", True), ("", False, "denied", False), ("avx2", True, "not asked", True)],
)
def test_tiles_need_the_systems_permission(
    monkeypatch: pytest.MonkeyPatch, asked: str, granted: bool, permission: str, is_offered: bool
) -> None:
    requests: list[bool] = []

    def request() -> bool:
        requests.append(granted)
        return granted

    monkeypatch.setattr(target, "cpu_features", lambda: TILES)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(target, "request_tiles", request)
    monkeypatch.setenv("ENGINE_ISA", asked)
    monkeypatch.delenv("NM_ARCH", raising=False)
    target.tile_permission.cache_clear()
    try:
        assert target.tile_permission() == target.tile_permission() == permission
        assert len(requests) == (permission != "not asked"), "the system is asked once"
        # Denied: the next level, without a word.
        assert [level.name for level in target._offered()][-1] == ("amx" if is_offered else "avx512_vnni")
    finally:
        target.tile_permission.cache_clear()


def test_the_permission_can_be_seen() -> None:
    assert cpu_architecture()["amx_permission"] == target.tile_permission()
    if not cpu_features().issuperset(TILES):
        assert target.tile_permission() == "unsupported"
        assert active_level().name != "amx"
