"""What scheduling costs and gains: the command, and what it makes of figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.bench.__main__ import main
from engine.bench.schedulers.measure import Load
from engine.bench.schedulers.report import advice
from engine.machine.topology import topology
from engine.synthetic import open_synthetic

pytestmark = pytest.mark.xdist_group("cores")
MODEL = "synthetic:minilm-l6?layers=1&sparsity=0.8"
CORES = min(2, len(topology().cores))


def test_every_load_is_measured_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_synthetic(MODEL)
    file = tmp_path / "found.json"
    flags = ["-i", "[1,16]", "-t", "0", "--rounds", "1", "--callers", "1", "3", "-ncores", str(CORES)]
    assert main([MODEL, "--schedulers", *flags, "-x", str(file)]) == 0
    out = capsys.readouterr().out
    assert "One caller on one core: bare walk" in out
    written = json.loads(file.read_text())
    assert {(load["scheduler"], load["callers"]) for load in written["loads"]} == {
        (scheduler, callers) for scheduler in ("single_stream", "multi_stream") for callers in (1, 3)
    }
    assert set(written["latencies"]) == {str(count) for count in {1, CORES}}
    assert written["machine"]["cores"] == topology().available
    for load in written["loads"]:
        assert load["median"] <= load["p99"]
        assert load["handover"] <= load["handover_p99"]
        assert load["streams"] == (CORES if load["scheduler"] == "multi_stream" else 1)


@pytest.mark.parametrize(
    ("rates", "latencies", "words"),
    [
        (
            (100.0, 101.0),
            {1: 2.0, 2: 1.05},
            ("fills the cores", "1.01x the throughput", "Take single_stream"),
        ),
        ((100.0, 180.0), {1: 2.0, 2: 1.9}, ("does not fill", "1.80x the throughput", "Take multi_stream")),
        ((100.0, 100.0), {1: 2.0}, ("One core",)),
    ],
)
def test_the_advice_follows_the_figures(
    rates: tuple[float, float], latencies: dict[int, float], words: tuple[str, ...]
) -> None:
    names = ("single_stream", "multi_stream")
    loads = [Load(n, 1, 2, r, *([0.0] * 5)) for n, r in zip(names, rates, strict=True)]
    said = advice(latencies, loads, max(latencies))
    assert all(word in said for word in words)


def test_bad_flags_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--callers", "0"], ["--rounds", "0"], ["-x", "no/such/folder/x.json"]):
        assert main([MODEL, "--schedulers", "-i", "[1,16]", *flags]) == 2
        assert capsys.readouterr().err.startswith("error: ")
