"""Warming ends with one line where it would be for nothing, and an engine says when nothing can be kept."""

from __future__ import annotations

import pytest

from engine import Engine, warm
from engine.api import plans

MODEL = "synthetic:minilm-l6?layers=1"


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert warm.main([]) == 2
    return capsys.readouterr().err.splitlines()


def test_a_wrong_level_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENGINE_ISA", "nonsense")
    (line,) = _lines(capsys)
    assert line.startswith("error: ENGINE_ISA=nonsense")


@pytest.mark.parametrize("place", ["off", "/somewhere"])
def test_nothing_is_compiled_that_cannot_be_kept(
    place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENGINE_CACHE_DIR", place)
    monkeypatch.setattr(warm, "code_folder", lambda: None)
    monkeypatch.setattr(warm, "all_kernels", lambda: pytest.fail("compiled for nothing"))
    (line,) = _lines(capsys)
    assert place in line
    assert "keeps nothing" in line


@pytest.mark.parametrize(("place", "count"), [("off", 0), ("/somewhere", 1)])
def test_a_folder_that_cannot_be_written_is_told_once(
    place: str, count: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = Engine(MODEL, input_shapes=[[1, 16]]).model_path
    monkeypatch.setenv("ENGINE_CACHE_DIR", place)
    monkeypatch.setattr(plans, "code_folder", lambda: None)
    plans._warn_without_cache.cache_clear()
    try:
        for _ in range(2):
            Engine(found, input_shapes=[[1, 16]]).close()
    finally:
        plans._warn_without_cache.cache_clear()
    told = [record.getMessage() for record in caplog.records if "ENGINE_CACHE_DIR" in record.getMessage()]
    assert len(told) == count
    assert all(text.startswith(place) for text in told)
