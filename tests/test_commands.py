"""Console scripts: what they print, and that a wrong input ends with one line and code 2."""

from __future__ import annotations

import configparser
import contextlib
import importlib
import json
from pathlib import Path

import pytest

import pipelines
from sparselane import commands

pytestmark = pytest.mark.xdist_group("cores")
ROOT = Path(__file__).parent.parent
MODEL = str(next((Path(pipelines.__file__).parent / "models").glob("sentiment-*")))


def test_every_script_leads_to_a_function() -> None:
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg")
    lines = read["options.entry_points"]["console_scripts"].strip().splitlines()
    for name, _, place in (line.partition(" = ") for line in lines):
        module, _, attribute = place.partition(":")
        assert callable(getattr(importlib.import_module(module), attribute))
        assert name == f"sparselane.{attribute}"


@pytest.mark.parametrize("name", ["analyze", "annotate", "benchmark", "debug_analysis", "infer"])
@pytest.mark.parametrize("arguments", [["/nowhere/model.onnx"], ["--no-such-flag", "x"]])
def test_wrong_input_ends_with_one_line(
    name: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "infer":
        arguments = ["text", "--model_path", *arguments]
    # argparse leaves the process by itself.
    with contextlib.suppress(SystemExit):
        assert getattr(commands, name)(arguments) == 2
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert shown.strip()


def test_hardware_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.check_hardware([]) == 0
    shown = capsys.readouterr().out
    for words in ("CPU detected with", "FP32", "INT8", "Instruction set level", "AMX tiles", "Caches"):
        assert words in shown
    assert commands.check_hardware(["--fast"]) == 2


def test_steps_are_timed_and_analysed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "profile.json"
    given = [MODEL, "-i", "[1,16]", "-bi", "3", "-wi", "1", "-x", str(file)]
    assert commands.debug_analysis(given) == 0
    assert "== Layer Breakdown ==" in capsys.readouterr().out
    found = json.loads(file.read_text())
    assert len(found["iteration_times"]) == 3
    times = [layer["average_run_time_in_ms"] for layer in found["layer_info"]]
    assert found["sum_of_steps"] == pytest.approx(sum(times))
    assert any(layer["required_flops"] and layer["average_utilization"] for layer in found["layer_info"])
    assert commands.analyze([MODEL, "--save", str(file)]) == 0
    assert len(json.loads(file.read_text())) >= len(times) - 5


def test_texts_are_answered_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.infer(["A delight.", "A bore."]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["labels"] for answer in answers] == [["positive"], ["negative"]]
