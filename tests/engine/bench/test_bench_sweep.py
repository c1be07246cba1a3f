"""The sweep over streams and batch sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.bench.__main__ import main
from engine.bench.sweep import Point, frontier, stream_counts, table
from engine.synthetic import open_synthetic

pytestmark = pytest.mark.xdist_group("cores")
MODEL = "synthetic:minilm-l6?layers=1&sparsity=0.8"
POINTS = [
    Point(1, 1, 100.0, 10.0, 11.0, 12.0),
    Point(2, 1, 150.0, 13.0, 16.0, 19.0),
    Point(1, 4, 140.0, 28.0, 30.0, 31.0),
]


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])]
)
def test_streams_double_up_to_the_cores(cores: int, counts: list[int]) -> None:
    assert stream_counts(cores) == counts


def test_beaten_loads_carry_no_mark() -> None:
    assert frontier(POINTS) == POINTS[:2]
    assert [line.endswith("*") for line in table(POINTS).splitlines()] == [False, True, True, False]


def test_the_command_prints_writes_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    open_synthetic(MODEL)
    files = tmp_path / "loads.json", tmp_path / "loads.png"
    arguments = [
        "--sweep",
        "-i",
        "[1,16]",
        "-t",
        "0",
        "-w",
        "0",
        "-q",
        "-x",
        str(files[0]),
        "--plot",
        str(files[1]),
    ]
    assert main([MODEL, *arguments]) == 0
    assert capsys.readouterr().out.startswith("streams  batch  items/s")
    written = json.loads(files[0].read_text())["loads"]
    assert {load["batch_size"] for load in written} == {1, 4, 16}
    assert files[1].stat().st_size > 1000


@pytest.mark.parametrize("scenario", ["async", "elastic"])
def test_several_callers_see_the_tail(capsys: pytest.CaptureFixture[str], scenario: str) -> None:
    open_synthetic(MODEL)
    assert main([MODEL, "-s", scenario, "-nstreams", "2", "-i", "[1,16]", "-t", "0", "-w", "0", "-q"]) == 0
    assert "99.9% " in capsys.readouterr().out.splitlines()[-1]
