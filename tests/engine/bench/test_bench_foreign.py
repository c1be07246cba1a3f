"""Engines with an interpreter of their own: the protocol, with a stand-in for the engine behind it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from engine.bench.__main__ import main
from engine.bench.foreign import FOREIGN
from engine.synthetic import open_synthetic

MODEL = "synthetic:minilm-l6?layers=1&sparsity=0.8"
QUICK = ["-i", "[1,16]", "-t", "0", "-w", "0"]
NAME = "deepsparse-1.8"
# What the worker uses of the engine, over ONNX Runtime.
STAND_IN = """
import onnxruntime

__version__ = "1.8.0"

class Engine:
    cpu_vnni, cpu_avx_type, fraction_of_supported_ops = True, "avx512", 1.0

    def __init__(self, model, batch_size, num_cores):
        print("a line that is no answer")
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        assert [entry.shape for entry in self.session.get_inputs()] == [[1, 16]] * 3, "shapes are fixed"

    def run(self, inputs):
        names = [entry.name for entry in self.session.get_inputs()]
        return self.session.run(None, dict(zip(names, inputs)))
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    open_synthetic(MODEL)
    (tmp_path / "deepsparse.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("DEEPSPARSE_PYTHON", sys.executable)
    return tmp_path


def test_it_takes_turns_and_its_answers_are_compared(stand_in: Path) -> None:
    results = stand_in / "results.json"
    engines = ["-e", "engine", "-e", NAME, "--validate", "-x", str(results)]
    assert main([MODEL, *QUICK, *engines]) == 0
    ours, theirs = json.loads(results.read_text(encoding="utf-8"))["engines"]
    assert (ours["engine_name"], theirs["engine_name"]) == ("engine", NAME)
    assert theirs["engine_version"] == "1.8.0"
    assert theirs["benchmark_result"]["iterations"] >= 3


def test_it_can_be_timed_alone(stand_in: Path) -> None:
    results = stand_in / "results.json"
    assert main([MODEL, *QUICK, "-e", NAME, "-x", str(results)]) == 0
    assert results.exists()


@pytest.mark.parametrize("interpreter", ["", "no-such-python"])
def test_without_its_interpreter_it_is_one_line(
    interpreter: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEEPSPARSE_PYTHON", interpreter)
    assert main([MODEL, *QUICK, "-e", NAME]) == 2
    assert "DEEPSPARSE_PYTHON" in capsys.readouterr().err


def test_it_has_one_stream(stand_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del stand_in
    assert main([MODEL, *QUICK, "-e", NAME, "-s", "async", "-nstreams", "2"]) == 2
    assert "one stream" in capsys.readouterr().err


def test_every_foreign_script_is_there() -> None:
    folder = Path(sys.modules["engine.bench.foreign"].__file__ or "").parent
    assert all((folder / engine.script).is_file() for engine in FOREIGN.values())
