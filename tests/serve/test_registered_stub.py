"""A stub that the user registered is taken wherever a model is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import pipelines
from engine import Engine
from engine.bench.__main__ import main as bench
from engine.models import main as models
from pipelines import Pipeline
from serve import create_app
from serve.config import make_config

STUB = "zoo:nlp/sentiment_analysis/obert-base/pytorch/huggingface/sst2/pruned90_quant-none"
FOLDER = Path(pipelines.__file__).parent / "models" / "sentiment-minilm-l3-pruned80-int8"

pytestmark = pytest.mark.xdist_group("cores")


def test_a_registered_stub_is_a_model_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_STUBS", str(tmp_path / "stubs.yaml"))
    assert models(["add", STUB, str(FOLDER)]) == 0
    assert Engine(STUB).model_path == str(FOLDER / "model.onnx")
    pipeline = Pipeline.create(task="sentiment-analysis", model_path=STUB)
    assert pipeline(sequences="a joy from start to end").labels == ["positive"]
    assert bench([STUB, "-i", "[1,16]", "-t", "0", "-w", "0"]) == 0
    config = make_config({"endpoints": [{"task": "sentiment-analysis", "model": STUB}]}, "test")
    answer = create_app(config).test_client().post("/predict", json={"sequences": "dull and far too long"})
    assert answer.get_json()["labels"] == ["negative"]


def test_stubs_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENGINE_STUBS", str(tmp_path / "stubs.yaml"))
    (tmp_path / "model.onnx").touch()
    assert models(["add", "zoo:x", str(tmp_path)]) == 0
    assert models(["list"]) == 0
    assert f"zoo:x  {tmp_path.resolve()}" in capsys.readouterr().out
    assert models(["add", "zoo:y", str(tmp_path / "nowhere")]) == 2
    assert "nothing was registered" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert models(["add", "zoo:y", str(tmp_path / "empty")]) == 2
    assert "has no model.onnx" in capsys.readouterr().err


def test_a_table_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.onnx").touch()
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENGINE_STUBS", str(tmp_path / "file" / "stubs.yaml"))
    assert models(["add", "zoo:x", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert "ENGINE_STUBS" in shown
    assert shown.count("\n") == 1
