"""Whole models on tiles: equal to the same models without them, for any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import whole_models
from whole_models import LARGE, MODELS, Array, Whole, families, outputs

from engine.jit import active_level

pytestmark = [pytest.mark.isa("amx"), pytest.mark.xdist_group("cores")]


def _without_tiles(file: Path, *flags: str) -> dict[str, Array]:
    """Outputs at the level below, computed by a process of its own."""
    environment = {**os.environ, "ENGINE_ISA": "avx512_vnni"}
    report = file.with_suffix(".report")
    environment["TILE_TRAPS_REPORT"] = str(report)
    command = [sys.executable, whole_models.__file__, str(file), *flags]
    subprocess.run(command, env=environment, check=True)
    if report.is_file():
        assert '"executed": 0, "refused": 0' in report.read_text(), "no tile instruction below the level amx"
    with np.load(file) as found:
        return dict(found)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    return _without_tiles(tmp_path_factory.mktemp("models") / "small.npz")


def _check(whole: Whole, expected: dict[str, Array]) -> None:
    assert active_level().name == "amx"
    one, two = outputs(whole, 1), outputs(whole, 2)
    wanted = [expected[f"{whole.name}/{i}"] for i in range(len(one))]
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True)), "threads do not change a bit"
    for mine, theirs in zip(one, wanted, strict=True):
        if whole.exact:
            assert np.array_equal(mine, theirs)
        elif whole.precision == "f32":
            np.testing.assert_allclose(mine, theirs, atol=2e-4 * np.abs(theirs).max())
        else:
            assert 0 < np.abs(mine - theirs).max() < 0.05 * np.abs(theirs).max()


@pytest.mark.parametrize("whole", MODELS, ids=lambda whole: whole.name)
def test_a_model_is_the_same_with_tiles(whole: Whole, expected: dict[str, Array]) -> None:
    assert whole.families <= families(whole)
    _check(whole, expected)


@pytest.mark.slow
def test_large_models_are_the_same_with_tiles(tmp_path: Path) -> None:
    wanted = _without_tiles(tmp_path / "large.npz", "large")
    for whole in LARGE:
        assert whole.families <= families(whole), whole.name
        _check(whole, wanted)
