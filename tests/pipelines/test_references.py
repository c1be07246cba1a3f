"""Whole pipelines over embedded models against references of their own: NumPy before, ONNX Runtime, NumPy after."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipelines
from pipelines import Pipeline

MODELS = Path(pipelines.__file__).parent / "models"
# Two computations in eight bits differ by a step here and there.
CLOSE = 0.05
GARMENTS = 300


def _session(name: str) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(MODELS / name / "model.onnx"), providers=["CPUExecutionProvider"])


def _softmax(logits: Any) -> Any:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _idx(file: Path, header: int) -> Any:
    if not file.is_file():
        pytest.skip(f"needs {file.name}, which is not here")
    return np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=header)


def test_held_out_garments_are_classified_as_by_the_reference(shared: Path) -> None:
    folder = shared / "data" / "fashion-heldout"
    images = _idx(folder / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)[:GARMENTS]
    labels = _idx(folder / "t10k-labels-idx1-ubyte.gz", 8)[:GARMENTS]
    rows = ((images.astype(np.float64) / 255 - 0.2860) / 0.3530).astype(np.float32)[:, None]
    (logits,) = _session("garments-cnn-int8").run(None, {"input": rows})
    expected = _softmax(logits)
    classify: Any = Pipeline.create("image-classification", batch_size=50, top_k=10)
    found = classify(list(images))
    numbers = {name: number for number, name in classify.names.items()}
    scores = np.zeros_like(expected)
    for place, (names, values) in enumerate(zip(found.labels, found.scores, strict=True)):
        scores[place, [numbers[name] for name in names]] = values
    np.testing.assert_allclose(scores, expected, atol=CLOSE)
    best = np.sort(expected, axis=1)
    clear = best[:, -1] - best[:, -2] > 2 * CLOSE
    assert (scores.argmax(1) == expected.argmax(1))[clear].all()
    assert np.mean(scores.argmax(1) == labels) > 0.88


def test_zero_shot_scores_are_those_of_the_reference() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    name, labels = "sentiment-minilm-l3-pruned80-int8", ["a pleasure", "boredom", "football"]
    texts = ["A joy from start to end.", "Dull, loud and far too long.", "Two goals in a minute! 😀"]
    session = _session(name)
    tokenizer = tokenizers.Tokenizer.from_file(str(MODELS / name / "tokenizer.json"))
    tokenizer.no_padding()
    classify: Any = Pipeline.create(
        "zero-shot-text-classification",
        MODELS / name,
        labels=labels,
        model_config={"contradiction_index": 0, "entailment_index": 1},
        batch_size=None,
    )
    found = classify(texts)
    for text, ranked, scores in zip(texts, found.labels, found.scores, strict=True):
        logits = []
        for label in labels:
            row = tokenizer.encode(text, f"This text is about {label}")
            arrays = {
                "input_ids": row.ids,
                "attention_mask": row.attention_mask,
                "token_type_ids": row.type_ids,
            }
            feed = {entry.name: np.array([arrays[entry.name]], np.int64) for entry in session.get_inputs()}
            logits.append(session.run(None, feed)[0][0, 1])
        expected = _softmax(np.array(logits))
        assert dict(zip(ranked, scores, strict=True)) == pytest.approx(
            dict(zip(labels, expected, strict=True)), abs=CLOSE
        )
