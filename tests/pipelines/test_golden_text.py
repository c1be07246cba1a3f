"""Text tasks give the answers of transformers' own pipelines over the same weights (tools/golden/make.py)."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from plain_model import plain_model

import pipelines
from pipelines import Pipeline

MODELS = Path(pipelines.__file__).parent / "models"
GOLDEN = Path(__file__).parent / "golden"
CLOSE = 1e-3
STRATEGIES = ("none", "simple", "first", "average", "max")


def _rows(task: str) -> list[dict[str, Any]]:
    content = json.loads(gzip.decompress((GOLDEN / f"{task}.json.gz").read_bytes()))
    rows: list[dict[str, Any]] = content["rows"]
    assert len(rows) >= 200
    return rows


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A deployment folder with an embedded model's weights as f32."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        for file in (MODELS / name).glob("*.json"):
            shutil.copy(file, folder)
        onnx.save(plain_model(onnx.load(str(MODELS / name / "model.onnx"))), str(folder / "model.onnx"))
        return folder

    return make


def test_text_classification_equals_transformers(plain: Any) -> None:
    classify = Pipeline.create("text-classification", plain("sentiment-minilm-l3-pruned80-int8"), top_k=2)
    for row in _rows("text_classification"):
        pair = isinstance(row["text"], list)
        found: Any = classify([row["text"]] if pair else row["text"])
        scores = dict(zip(found.labels[0], found.scores[0], strict=True))
        assert found.labels[0][0] == max(row["scores"], key=row["scores"].get), row["text"][:80]
        assert scores == pytest.approx(row["scores"], abs=CLOSE)


def test_token_classification_equals_transformers(plain: Any) -> None:
    find: Any = Pipeline.create("ner", plain("ner-minilm-l6-int8"))
    for row in _rows("token_classification"):
        for strategy, outputs, context in _once(find, STRATEGIES, inputs=row["text"]):
            find.aggregation_strategy = strategy
            found = find.process_engine_outputs(outputs, **context).predictions[0]
            expected = row["entities"].get(strategy, [])
            assert [[e.entity, e.word, e.start, e.end, e.index] for e in found] == [
                [tag, word, start, end, index] for tag, _, word, start, end, index in expected
            ], (strategy, row["text"][:80])
            assert [e.score for e in found] == pytest.approx([score for _, score, *_ in expected], abs=CLOSE)


def test_question_answering_equals_transformers(plain: Any) -> None:
    if not (GOLDEN / "question_answering.json.gz").is_file():
        pytest.skip("needs the golden answers of tools/golden/make.py")
    lengths: dict[str, Any] = {"sequence_length": 96, "doc_stride": 32, "batch_size": None}
    ask: Any = Pipeline.create("qa", plain("qa-minilm-l6-int8"), score="probability", **lengths)
    for row in _rows("question_answering"):
        asked = {"question": row["question"], "context": row["context"]}
        for null, outputs, context in _once(ask, (False, True), **asked):
            ask.version_2_with_negative = null
            found = ask.process_engine_outputs(outputs, **context)
            score, answer, start, end = row["answers"][null]
            assert (found.answer, found.start, found.end) == (answer, start, end), row["question"]
            assert row["context"][found.start : found.end] == found.answer
            assert found.score == pytest.approx(score, abs=CLOSE)


def _once(pipeline: Any, settings: tuple[Any, ...], **request: Any) -> Iterator[tuple[Any, Any, Any]]:
    """One run of the engine for answers under several settings."""
    arrays, context = pipeline.process_inputs(pipeline.parse_inputs(**request))
    outputs = pipeline.run_batches(arrays)
    for setting in settings:
        yield setting, outputs, context
