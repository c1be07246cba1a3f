"""Printed block, comparison, exported keys, the Markdown table: their forms, to the letter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.bench import report, suite
from engine.bench.engines import Facts
from engine.bench.job import Job
from engine.bench.machine import describe_machine, load_warning, other_load
from engine.bench.table import BEGIN, END, results_table, write_table
from engine.bench.turns import Measurement
from engine.bench.validate import compare
from engine.errors import EngineError, OptionError

JOB = Job(
    model="folder/model.onnx", path="/tmp/model.onnx", batch_size=4, names=("ids",), dtypes=("int64",),
    shapes=((4, 8),), input_shapes=((4, 8),), cores=2, scenario="sync", streams=1, seconds=10.0,
    warmup_seconds=2.0,
)  # fmt: skip
FAST = Measurement(Facts("engine", "1.0", 2, "Engine:\n\tnum_cores: 2"), [[(0.0, 0.001), (0.001, 0.003)]])
SLOW = Measurement(Facts("other", "22.10", 2, "other", "f32"), [[(0.0, 0.02)], [(9.0, 9.01)]])

BLOCK = """\
Original Model Path: folder/model.onnx
Batch Size: 4
Scenario: sync
Throughput (items/sec): 2666.6667
Latency Mean (ms/batch): 1.5000
Latency Median (ms/batch): 1.5000
Latency Std (ms/batch): 0.5000
Iterations: 2"""

COMPARISON = """\
engine  version  threads  median ms  p90 ms  least ms  items/s  against first
engine  1.0            2      1.500   1.900     1.000   2666.7          1.00x
other   22.10          2     15.000  19.000    10.000    266.7          0.10x"""

TABLE = """\
A CPU, avx2, 2 cores, 2030-01-31; engine 1.0, other 22.10 (f32). Median ms per batch (items per second).

| model | shape | engine | other | engine against the best other |
| --- | --- | --- | --- | --- |
| folder/model.onnx | 4x8 | 1.50 (2666.7) | 15.00 (266.7) | 10.00x |"""


def comparison() -> dict[str, Any]:
    machine = {"cpu": "A CPU", "isa_in_use": "avx2", "date": "2030-01-31"}
    return {"machine": machine, "engines": [report.exported(JOB, m, None) for m in (FAST, SLOW)]}


def test_block_is_the_predecessors() -> None:
    assert report.block(JOB, report.summary_of(JOB, FAST)) == BLOCK


def test_comparison_has_a_line_per_engine() -> None:
    assert report.comparison(JOB, [FAST, SLOW]) == COMPARISON


def test_exported_keys_are_the_predecessors_then_ours() -> None:
    values = report.exported(JOB, FAST, None)
    assert list(values)[:13] == [
        "engine", "version", "orig_model_path", "model_path", "batch_size", "input_shapes", "num_cores",
        "scenario", "scheduler", "seconds_to_run", "num_streams", "benchmark_result",
        "fraction_of_supported_ops",
    ]  # fmt: skip
    assert values["engine"] == "Engine:\n\tnum_cores: 2"
    assert values["scenario"] == values["benchmark_result"]["scenario"] == "singlestream"
    assert "validation" not in values


def test_table_of_exported_comparisons() -> None:
    assert results_table([comparison()]) == TABLE


def test_table_is_written_between_the_marks_and_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Top\n{BEGIN}\nold\n{END}\nbelow\n")
    for table in (r"| \1 first |", "| second |"):
        write_table(page, table)
        assert page.read_text() == f"# Top\n{BEGIN}\n{table}\n{END}\nbelow\n"
    page.write_text("no marks")
    with pytest.raises(OptionError, match="no lines"):
        write_table(page, TABLE)


def test_agreement_is_told_per_output() -> None:
    reference = [np.array([1.0, 2.0, -4.0]), np.array([[5]])]
    rows = compare([np.array([1.0, 2.5, -4.0]), np.array([[5]])], reference)
    assert (rows[0].difference, rows[0].largest) == (0.5, 4.0)
    assert rows[0].correlation == pytest.approx(np.corrcoef([1, 2.5, -4], [1, 2, -4])[0, 1])
    assert (rows[1].difference, rows[1].correlation) == (0.0, None)
    assert str(rows[1]) == "output 1: largest difference 0 of 5, correlation none"


def test_outputs_of_other_shapes_do_not_compare() -> None:
    with pytest.raises(EngineError, match=r"\(2,\)"):
        compare([np.zeros(2)], [np.zeros(3)])


def test_machine_is_described() -> None:
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert {"cpu", "isa", "isa_in_use", "system", "python", "date"} <= set(machine)


def test_load_of_others_is_warned_of() -> None:
    assert load_warning(1.0) is None
    assert "85 %" in str(load_warning(85.0))
    assert other_load(0.01) >= 0


def test_suite_measures_each_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    measured: list[str] = []

    def bench(arguments: list[str]) -> int:
        measured.append(arguments[0])
        Path(arguments[arguments.index("-x") + 1]).write_text(json.dumps(comparison()))
        return 0

    monkeypatch.setattr(suite, "bench", bench)
    for _ in range(2):
        assert suite.main(["--results", str(tmp_path / "made"), "--page", str(page)]) == 0
    assert measured == [f"synthetic:{row.model}" for row in suite.ROWS]
    assert page.read_text().count("10.00x") == len(suite.ROWS)


def test_suite_stops_at_a_row_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    measured: list[str] = []

    def bench(arguments: list[str]) -> int:
        measured.append(arguments[0])
        return 2

    monkeypatch.setattr(suite, "bench", bench)
    assert suite.main(["--results", str(tmp_path / "made"), "--page", str(page)]) == 2
    assert len(measured) == 1


@pytest.mark.parametrize(("page", "part"), [("none.md", "No such file"), ("bare.md", "has no lines")])
def test_suite_measures_nothing_for_a_page_without_a_place(
    page: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bare.md").write_text("nothing")
    monkeypatch.setattr(suite, "bench", lambda _arguments: pytest.fail("measured for nothing"))
    assert suite.main(["--results", str(tmp_path / "made"), "--page", str(tmp_path / page)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert page in line
    assert part in line


def test_suite_names_a_file_without_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    for row in suite.ROWS:
        (tmp_path / row.file_name).write_text("{")
    assert suite.main(["--results", str(tmp_path), "--page", str(page)]) == 2
    assert suite.ROWS[0].file_name in capsys.readouterr().err
