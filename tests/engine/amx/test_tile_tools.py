"""What measures tiles: the register loops, the calibration and the benchmark run through; permission is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.bench.__main__ import main
from engine.bench.kernels import command
from engine.bench.kernels.layers import Layer
from engine.calibration import calibrate as calibration
from engine.calibration import product, timing
from engine.calibration.product import own_peak_of, timed_peak
from engine.cpu import cpu_architecture
from engine.jit import active_level, tile_permission
from engine.kernels.cost import Rates
from engine.kernels.peak.rows import TILE_PEAKS
from engine.lowering.choose import ALL_ROWS
from engine.runtime.teams import team_of

pytestmark = pytest.mark.isa("amx")

FAMILIES = {row.family for row in ALL_ROWS if row.family.startswith("amx_")}


@pytest.fixture(autouse=True)
def hardly_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "PEAK_ITERATIONS", 3)
    monkeypatch.setattr(product, "PEAK_TILES", 2)
    monkeypatch.setattr(timing, "SAMPLE_S", 0.0)


def test_the_level_is_the_machines_own_and_its_permission_is_seen() -> None:
    assert active_level().name == "amx"
    assert tile_permission() == cpu_architecture()["amx_permission"] == "granted"


@pytest.mark.parametrize("operand", ["u8", "bf16"])
def test_the_register_loop_of_tiles_runs_on_every_core(operand: str) -> None:
    for cores in (1, 2):
        timed_peak(TILE_PEAKS[operand], team_of(cores)).run()


def test_every_tile_row_is_bounded_by_the_loop_of_tiles() -> None:
    peaks = {family: own_peak_of(family) for family in FAMILIES}
    assert all(peak is not None and peak.kernel.name.startswith("peak_tile") for peak in peaks.values())


def test_a_calibration_fits_every_tile_row(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Rates] = []
    monkeypatch.setattr(calibration, "write_rates", kept.append)
    monkeypatch.setattr(calibration, "SIZES", ((64, 64), (32, 128)))
    monkeypatch.setattr(calibration, "LARGE", (64, 256))
    monkeypatch.setattr(calibration, "LANES", (16, 64))
    monkeypatch.setattr(calibration, "SPARSE_LANES", (16, 64))
    monkeypatch.setattr(calibration, "ZEROS", (0.5,))
    monkeypatch.setattr(calibration, "_CALL_S", 0.0)
    rates = calibration.calibrate()
    assert kept == [rates]
    assert rates.keys() >= FAMILIES


@pytest.mark.parametrize("family", ["amx_int8", "amx_f32_compressed"])
def test_the_benchmark_measures_a_tile_row(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "QUICK_LAYERS", (Layer("tiny", 24, 40, (4, 64)),))
    monkeypatch.setattr(command, "ZEROS", (0.0, 0.9))
    monkeypatch.setattr(command, "LAYER_S", 0.0)
    file = tmp_path / "figures.json"
    assert main(["--kernels", family, "-q", "-ncores", "1", "-x", str(file)]) == 0
    assert f'"{family}"' in file.read_text()
