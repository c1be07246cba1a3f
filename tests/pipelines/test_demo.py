"""The demonstration prints an answer, a latency, and what ran accelerated."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from stand_in_engine import StandInEngine

from pipelines import ENGINES
from pipelines.demo import run_demo


def test_the_demo_reports_what_ran_accelerated(capsys: pytest.CaptureFixture[str]) -> None:
    run_demo(["A delight."])
    printed = capsys.readouterr().out
    assert "positive" in printed
    assert re.search(r"Accelerated +(\d+) of \1 layers at \w+, 100% of the model's nodes", printed)
    assert "quantized_linear" in printed


def test_the_demo_answers_and_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ENGINES, "stand-in", StandInEngine)
    run_demo(["A delight.", "word " * 50], "stand-in")
    printed = capsys.readouterr().out
    for part in ("A delight.", "Latency", "ms per text", "Load and compile", "Accelerated"):
        assert part in printed


def test_the_demo_ends_with_one_line_where_it_cannot_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.demo"],
        env={**os.environ, "ENGINE_ISA": "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ENGINE_ISA=nonsense")
    assert done.stderr.count("\n") == 1
