"""Embeddings: poolings against plain loops, what sentence-transformers' files say, and `encode`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from token_engine import TokenEngine

import pipelines
from engine import OptionError
from pipelines import ENGINES, Pipeline

FOLDER = Path(pipelines.__file__).parent / "models" / "sentiment-minilm-l3-pruned80-int8"
TEXTS = ["One sentence.", "Another, somewhat longer one!", "", "😀"]


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "engine", TokenEngine)


def _create(folder: Path = FOLDER, **arguments: Any) -> Any:
    return Pipeline.create("embedding-extraction", folder, **arguments)


def _reference(pipeline: Any, text: str, pooling: str) -> Any:
    ids, mask, types = pipeline.to_arrays([text])
    vectors = TokenEngine.run(pipeline.engine, [ids, mask, types])[0][0].astype(np.float64)
    rows = [vectors[i] for i in range(len(vectors)) if mask[0, i]]
    if pooling.startswith("reduce"):
        rows = rows[1:]
    if pooling in ("mean", "reduce_mean"):
        return sum(rows) / len(rows)
    return rows[0] if pooling.startswith("cls") else np.max(rows, axis=0)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "cls_token", "reduce_mean", "reduce_max"])
@pytest.mark.parametrize("length", [32, [16, 64], None])
def test_poolings_are_those_of_plain_loops(pooling: str, length: Any) -> None:
    embed = _create(pooling=pooling, sequence_length=length, batch_size=None)
    for text, found in zip(TEXTS, embed(TEXTS).embeddings, strict=True):
        np.testing.assert_allclose(found, _reference(embed, text, pooling), atol=1e-5)


def test_every_tokens_vector_in_one_row() -> None:
    assert len(_create(extraction_strategy="per_token", sequence_length=16)("a").embeddings[0]) == 16 * 9


def test_the_files_of_sentence_transformers_are_followed(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "model")
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    (folder / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Normalize"}]))
    embed = _create(folder)
    assert (embed.pooling, embed.normalize) == ("cls", True)
    np.testing.assert_allclose(np.linalg.norm(embed("a").embeddings[0]), 1.0, atol=1e-6)
    assert (_create().pooling, _create().normalize) == ("mean", False)
    assert _create(folder, pooling="max", normalize=False).pooling == "max"


def test_encode_is_that_of_sentence_transformers() -> None:
    embed = _create()
    many = embed.encode(TEXTS, batch_size=3)
    assert many.shape == (4, 9)
    assert many.dtype == np.float32
    np.testing.assert_allclose(many, embed(TEXTS).embeddings, atol=1e-6)
    np.testing.assert_array_equal(embed.encode(TEXTS[0]), many[0])
    np.testing.assert_allclose(
        np.linalg.norm(embed.encode(TEXTS, normalize_embeddings=True), axis=1), 1.0, atol=1e-6
    )
    assert embed.encode(TEXTS[0], convert_to_numpy=False) == many[0].tolist()
    with pytest.raises(TypeError, match="prompt"):
        embed.encode(TEXTS, prompt="query: ")


def test_arrays_instead_of_lists() -> None:
    found = _create(return_numpy=True)("a", "b")
    assert all(isinstance(row, np.ndarray) for row in found.embeddings)
    assert len(json.loads(found.model_dump_json())["embeddings"]) == 2


def test_an_unknown_pooling_names_the_nearest() -> None:
    with pytest.raises(ValueError, match='did you mean "mean"'):
        _create(pooling="meen")


def test_the_last_layer_of_a_text_model_is_taken_as_it_is() -> None:
    embed = _create(base_task="text_classification", emb_extraction_layer=-1, sequence_length=16)
    assert embed("a") == _create(sequence_length=16)("a")


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ({"emb_extraction_layer": 3}, "extract_model"),
        ({"emb_extraction_layer": "/encoder/Add_3"}, "extract_model"),
        ({"base_task": "image_classification"}, '"custom"'),
        ({"base_task": "nothing"}, "Unknown task"),
    ],
)
def test_what_would_cut_the_model_is_refused_with_advice(arguments: dict[str, Any], advice: str) -> None:
    with pytest.raises(OptionError, match=advice):
        _create(**arguments)


def test_embeddings_of_a_real_model_are_means_over_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our engine at every length against ONNX Runtime and a loop over each text alone, without padding."""
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setitem(ENGINES, "engine", ENGINES["deepsparse"])
    texts = [*TEXTS, "A much longer sentence, with a clause or two, " * 5]
    folder = FOLDER.with_name("ner-minilm-l6-int8")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    for length in (128, [32, 128], None):
        embed: Any = Pipeline.create("embedding-extraction", folder, sequence_length=length, batch_size=None)
        found: Any = embed(texts)
        for text, vector in zip(texts, found.embeddings, strict=True):
            rows = embed.encoder.encode([text])
            kept = rows["attention_mask"][0] == 1
            feed = {name: rows[name][:, kept] for name in (entry.name for entry in session.get_inputs())}
            (tokens,) = session.run(None, feed)
            expected = np.zeros(tokens.shape[-1])
            for row in tokens[0]:
                expected += row / len(tokens[0])
            # Two quantised computations differ by roundings on a scale of some ten.
            np.testing.assert_allclose(vector, expected, atol=0.3)
            assert int(np.argmax(vector)) == int(np.argmax(expected))
