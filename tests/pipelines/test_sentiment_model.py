"""The embedded sentiment model: its held-out accuracy, and the same answers as ONNX Runtime."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines import Pipeline

LABELS = ["negative", "positive"]
HELD_OUT = [("sst2-heldout", 872, 85.5), ("reviews-heldout", 999, 90.7)]
SLICE = 100


@pytest.fixture(scope="module")
def classify() -> Pipeline:
    return Pipeline.create("sentiment-analysis")


@pytest.fixture(scope="module")
def reference() -> Pipeline:
    pytest.importorskip("onnxruntime")
    return Pipeline.create("sentiment-analysis", engine_type="onnxruntime")


def _read(shared: Path, name: str) -> tuple[list[str], NDArray[np.int64]]:
    file = shared / "data" / f"{name}.tsv.gz"
    if not file.is_file():
        pytest.skip(f"needs {file.name}, which is not here")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [line.rstrip("\n").rsplit("\t", 1) for line in lines][1:]
    return [text for text, _ in rows], np.array([int(label) for _, label in rows])


def _right(classify: Any, texts: list[str], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    found = np.array([LABELS.index(classify(text).labels[0]) for text in texts])
    right: NDArray[np.bool_] = found == labels
    return right


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count", "percent"), HELD_OUT)
def test_held_out_accuracy_is_that_of_its_readme(
    shared: Path, classify: Pipeline, name: str, count: int, percent: float
) -> None:
    texts, labels = _read(shared, name)
    assert len(texts) == count
    assert 100 * _right(classify, texts, labels).mean() == pytest.approx(percent, abs=0.2)


@pytest.mark.parametrize(("name", "count", "percent"), HELD_OUT)
def test_accuracy_on_a_slice_is_in_keeping_with_its_readme(
    shared: Path, classify: Pipeline, name: str, count: int, percent: float
) -> None:
    texts, labels = _read(shared, name)
    every = count // SLICE
    right = _right(classify, texts[::every][:SLICE], labels[::every][:SLICE])
    # Three standard errors of a mean over 100 sentences.
    allowed = 300 * np.sqrt(percent / 100 * (1 - percent / 100) / SLICE)
    assert 100 * right.mean() == pytest.approx(percent, abs=allowed)


def test_answers_agree_with_onnxruntime(shared: Path, classify: Any, reference: Any) -> None:
    """The fused int8 path skips roundings between layers: the same label on 99.5 %, and close scores."""
    texts = [text for name, _, _ in HELD_OUT for text in _read(shared, name)[0][:SLICE]]
    ours, theirs = ([pipeline(text) for text in texts] for pipeline in (classify, reference))
    same = [a.labels == b.labels for a, b in zip(ours, theirs, strict=True)]
    assert np.mean(same) >= 0.995
    differences = [
        abs(a.scores[0] - b.scores[0]) for a, b, equal in zip(ours, theirs, same, strict=True) if equal
    ]
    assert np.median(differences) <= 0.01
