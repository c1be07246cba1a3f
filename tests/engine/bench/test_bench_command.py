"""The command from end to end: alone, in turns, with a class of the user's, and every way to get it wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.bench.__main__ import main
from engine.synthetic import open_synthetic

MODEL = "synthetic:minilm-l6?layers=1&sparsity=0.8"
QUICK = ["-i", "[1,16]", "-t", "0", "-w", "0"]
LABELS = [
    "Original Model Path", "Batch Size", "Scenario", "Throughput (items/sec)", "Latency Mean (ms/batch)",
    "Latency Median (ms/batch)", "Latency Std (ms/batch)", "Iterations",
]  # fmt: skip

CUSTOM = """
import numpy as np

class Echo:
    scheduler = None

    def __init__(self, model_path, batch_size, num_cores):
        self.batch_size = batch_size

    def run(self, inputs):
        print("this line must not disturb anybody")
        return [inputs[0]]

class Broken(Echo):
    def run(self, inputs):
        raise RuntimeError("out of order")

class Dying(Echo):
    def run(self, inputs):
        import os
        os._exit(3)
"""


@pytest.fixture(scope="module", autouse=True)
def model_is_made() -> None:
    open_synthetic(MODEL)


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    file = tmp_path / "custom.py"
    file.write_text(CUSTOM)
    return file


def labels(text: str) -> list[str]:
    return [line.partition(":")[0] for line in text.splitlines()]


def test_one_engine_prints_its_block_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    assert main([MODEL, *QUICK, "-e", "onnxruntime", "-x", str(file)]) == 0
    printed = capsys.readouterr()
    assert labels(printed.out) == LABELS
    assert "onnxruntime" in printed.err
    values = json.loads(file.read_text())
    assert values["orig_model_path"] == MODEL
    assert values["input_shapes"] == [[1, 16]]
    assert values["benchmark_result"]["iterations"] == 1
    assert values["machine"]["cores"] >= 1


def test_quiet_prints_results_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([MODEL, *QUICK, "-e", "onnxruntime", "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_our_engine_agrees_with_onnxruntime(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([MODEL, *QUICK, "-e", "engine", "--validate"]) == 0
    printed = capsys.readouterr().out
    assert labels(printed) == [*LABELS, "Against onnxruntime"]
    assert float(printed.rpartition("largest difference ")[2].split()[0]) < 1e-3


@pytest.mark.parametrize("engine", ["openvino", "openvino-f32"])
def test_openvino_runs(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino")
    assert main([MODEL, *QUICK, "-e", engine]) == 0
    assert labels(capsys.readouterr().out) == LABELS


def test_engines_take_turns(custom: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    engines = ["-e", "onnxruntime", "-e", f"{custom}:Echo"]
    assert main([MODEL, *QUICK, *engines, "-x", str(file)]) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    assert [labels(block) for block in blocks[:2]] == [[*LABELS, "Engine"]] * 2
    assert [line.split()[0] for line in blocks[2].splitlines()] == ["engine", "onnxruntime", "Echo"]
    values = json.loads(file.read_text())
    assert [entry["engine_name"] for entry in values["engines"]] == ["onnxruntime", "Echo"]
    # One call a turn, as no time is given to any.
    assert [entry["benchmark_result"]["iterations"] for entry in values["engines"]] == [3, 3]


def test_several_callers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([MODEL, *QUICK, "-e", "onnxruntime", "-s", "async", "-nstreams", "2"]) == 0
    assert "Iterations: 2" in capsys.readouterr().out


def test_an_open_dimension_is_chosen_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([MODEL, "-t", "0", "-w", "0", "-b", "2", "-e", "onnxruntime"]) == 0
    printed = capsys.readouterr()
    assert "Batch Size: 2" in printed.out
    assert "input_ids [2, 128]" in printed.err


WRONG = [
    (["missing.onnx"], "missing.onnx"),
    (["synthetic:alexnet"], "alexnet"),
    ([MODEL, "-e", "tensorflow"], "'tensorflow' is unknown"),
    ([MODEL, "-e", "nowhere.py:Engine"], "nowhere.py"),
    ([MODEL, "-i", "[1,2,3]"], "'input_ids'"),
    ([MODEL, "-i", "[1,2],[1,2]"], "3 inputs"),
    ([MODEL, "-s", "serial"], "'serial'"),
    ([MODEL, "-x", "no/such/folder/out.json"], "out.json: its folder does not exist"),
    ([MODEL, "-x", "{custom.parent}"], "it is a folder"),
    (["--kernels", "-x", "{custom.parent}"], "it is a folder"),
    ([MODEL, "--layers", "-x", "{custom.parent}"], "it is a folder"),
    (["synthetic:minilm-l6?sparsity=2"], "sparsity of a synthetic model must be"),
    (["hf:nobody/nothing"], "no model is registered for hf:nobody/nothing; nothing is downloaded"),
    ([MODEL, *QUICK, "-e", "{custom}:Missing"], "no class Missing"),
    ([MODEL, *QUICK, "-e", "{custom}:Broken"], "out of order"),
    ([MODEL, *QUICK, "-e", "onnxruntime", "-e", "{custom}:Broken"], "out of order"),
    ([MODEL, *QUICK, "-e", "onnxruntime", "-e", "{custom}:Dying"], "ended with code 3"),
    ([MODEL, *QUICK, "-e", "{custom}:Echo", "--validate"], "shapes"),
]


@pytest.mark.parametrize(("arguments", "part"), WRONG)
def test_an_error_is_one_line_and_exit_code_2(
    arguments: list[str], part: str, custom: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(custom=custom) for argument in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1
    assert part in errors[0]
    assert not any("Traceback" in line for line in lines)


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["missing.onnx", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "text.onnx"
    file.write_text("hello")
    assert main([str(file), "-e", "onnxruntime"]) == 2
    assert "text.onnx" in capsys.readouterr().err
