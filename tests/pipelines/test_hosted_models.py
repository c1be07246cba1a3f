"""Models by stub: own copies of the zoo, the hub's cache without a network, exporters' folders, and what else is said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from stand_in_engine import StandInEngine

import pipelines
from engine import ModelNotFoundError
from pipelines import ENGINES, Pipeline
from pipelines.deployment import locate

EMBEDDED = Path(pipelines.__file__).parent / "models" / "sentiment-minilm-l3-pruned80-int8"
STUB = "zoo:nlp/sentiment_analysis/obert-base/pytorch/huggingface/sst2/pruned90_quant-none"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No stubs of the user's own, and no model that is compiled."""
    monkeypatch.setenv("ENGINE_STUBS", str(tmp_path / "stubs.yaml"))
    monkeypatch.setenv("SPARSEZOO_MODELS_PATH", str(tmp_path / "old"))
    monkeypatch.delenv("SPARSELANE_ZOO", raising=False)
    monkeypatch.delenv("ENGINE_ZOO", raising=False)
    monkeypatch.setitem(ENGINES, "engine", StandInEngine)


def _deployment(folder: Path, onnx_file: str = "model.onnx") -> Path:
    (folder / onnx_file).parent.mkdir(parents=True)
    for file in EMBEDDED.glob("*.json"):
        shutil.copy(file, folder)
    (folder / onnx_file).write_bytes(b"compiled by nobody")
    return folder


@pytest.mark.parametrize("variable", ["SPARSELANE_ZOO", "ENGINE_ZOO"])
@pytest.mark.parametrize("inner", ["model.onnx", "deployment/model.onnx", "onnx/model.onnx"])
def test_own_copies_of_the_zoo_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "copies"))
    folder = tmp_path / "copies" / STUB.removeprefix("zoo:")
    _deployment(folder, inner)
    assert locate(STUB).onnx_file == folder / inner
    assert locate(STUB + "?deployment=default").onnx_file == folder / inner
    if inner == "model.onnx":
        assert Pipeline.create("sentiment-analysis", STUB)("a").labels


@pytest.mark.parametrize("mirror", [None, "copies"])
def test_a_stub_without_a_copy_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: str | None
) -> None:
    if mirror:
        monkeypatch.setenv("SPARSELANE_ZOO", str(tmp_path / mirror))
    with pytest.raises(ModelNotFoundError, match=r"shut down in June 2025.*SPARSELANE_ZOO") as error:
        Pipeline.create("sentiment-analysis", STUB)
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, FileNotFoundError)


def test_the_hub_is_asked_for_a_deployment_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    folder = _deployment(tmp_path / "snapshot", "onnx/model.onnx")

    def snapshot(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    found = locate("hf:someone/a-model@v2")
    assert (asked["name"], asked["revision"]) == ("someone/a-model", "v2")
    assert "*.onnx" in asked["allow_patterns"]
    assert not any("bin" in pattern or "safetensors" in pattern for pattern in asked["allow_patterns"])
    assert (found.onnx_file, found.folder) == (folder / "onnx/model.onnx", folder)
    assert Pipeline.create("sentiment-analysis", "hf:someone/a-model")("a").labels


def test_the_hubs_cache_serves_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The layout of the hub's cache: a name for the revision, and a folder of its files.
    cache = tmp_path / "hub" / "models--someone--a-model"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(commit)
    folder = _deployment(cache / "snapshots" / commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert locate("hf:someone/a-model").folder == folder
    with pytest.raises(ModelNotFoundError, match="not in the hub's cache"):
        locate("hf:someone/another-model")


def test_an_exporters_folder_keeps_its_tokenizer_above_the_file(tmp_path: Path) -> None:
    folder = _deployment(tmp_path / "exported", "onnx/model.onnx")
    assert locate(str(folder)).folder == folder
    assert Pipeline.create("sentiment-analysis", folder)("a").labels


def test_a_missing_default_asks_for_a_model_of_its_task(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pipelines.deployment.models_folder", lambda: tmp_path)
    (tmp_path / "garments-cnn-int8").mkdir()
    (tmp_path / "garments-cnn-int8" / "model.onnx").touch()
    with pytest.raises(ModelNotFoundError, match="a model for that task") as error:
        Pipeline.create("yolo")
    assert "object_detection" in str(error.value)
    assert "garments-cnn" not in str(error.value)


def test_an_unknown_embedded_model_is_answered_with_the_known_ones_and_their_tasks() -> None:
    with pytest.raises(ModelNotFoundError, match=r'did you mean "garments-cnn-int8"') as error:
        locate("embedded:garments-cnn")
    assert "ner-minilm-l6-int8 (token_classification)" in str(error.value)
