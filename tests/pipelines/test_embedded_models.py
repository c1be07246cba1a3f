"""The embedded models: complete folders, the same answers as ONNX Runtime, and accuracy in keeping with their README."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipelines
from pipelines import Pipeline

ROOT = Path(pipelines.__file__).parent
MODELS = sorted(file.parent for file in (ROOT / "models").glob("*/model.onnx"))
LARGEST_BYTES = 60_000_000
# The measure that the README's figures were made with.
sys.path.insert(0, str(ROOT.parent / "tools" / "train"))
measures: Any = importlib.import_module("measures")

SENTENCES = [
    "Ada Lovelace wrote the first program for Charles Babbage's engine in London.",
    "The United Nations opened a new office in Nairobi on Tuesday.",
    "Nothing in this sentence has a name.",
]


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_model_tells_where_it_comes_from(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    for part in ("Held-out accuracy", "How it was made", "licence", "Limits"):
        assert part in text, part
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if (folder / "tokenizer.json").is_file():
        assert (folder / "LICENSE-base").is_file()


def test_all_models_fit_into_the_wheel() -> None:
    assert sum(file.stat().st_size for folder in MODELS for file in folder.iterdir()) < LARGEST_BYTES


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_model_is_the_default_of_a_task(folder: Path) -> None:
    assert f"embedded:{folder.name}" in {task.default_model_path for task in Pipeline.tasks()}


def test_entities_are_those_of_onnxruntime() -> None:
    pytest.importorskip("onnxruntime")
    ours, theirs = (
        Pipeline.create("ner", aggregation_strategy="first", engine_type=engine)(SENTENCES)
        for engine in ("engine", "onnxruntime")
    )
    for left, right in zip(ours.predictions, theirs.predictions, strict=True):
        assert [(e.entity, e.start, e.end) for e in left] == [(e.entity, e.start, e.end) for e in right]
        assert [e.score for e in left] == pytest.approx([e.score for e in right], abs=0.05)
    assert [e.word for e in ours[0]] == ["ada lovelace", "charles babbage", "london"]
    assert ours[2] == []


def _read(file: Path) -> list[Any]:
    if not file.is_file():
        pytest.skip(f"needs {file.name}, which is not here")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_entity_f1_on_a_slice_is_in_keeping_with_its_readme(shared: Path) -> None:
    rows = [row for row in _read(shared / "data" / "ner-heldout.jsonl.gz") if row["source"] == "wikigold"]
    find: Any = Pipeline.create("ner", ignore_labels=[])
    counts = np.zeros(3)
    for row in rows:
        starts = np.cumsum([0, *(len(word) + 1 for word in row["tokens"])]).tolist()
        tags = ["O"] * len(row["tokens"])
        for result in find(row["tokens"], is_split_into_words=True)[0]:
            tags[starts.index(result.start)] = result.entity
        ours, theirs = measures.entities(tags), measures.entities(row["tags"])
        counts += len(ours & theirs), len(ours), len(theirs)
    f1 = 200 * counts[0] / (counts[1] + counts[2])
    readme = (ROOT / "models" / "ner-minilm-l6-int8" / "README.md").read_text(encoding="utf-8")
    stated = re.search(r"wikigold .*?\| ([\d.]+) % \|$", readme, re.MULTILINE)
    assert stated is not None
    # Another instruction set rounds some activations to the neighbouring byte.
    assert f1 == pytest.approx(float(stated[1]), abs=1.0)


def test_garments_are_told_apart(shared: Path) -> None:
    folder = shared / "data" / "fashion-heldout"
    if not folder.is_dir():
        pytest.skip(f"needs {folder.name}, which is not here")
    images = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)[::20]
    wanted = np.frombuffer(labels, np.uint8, offset=8)[::20]
    classify: Any = Pipeline.create("image-classification", batch_size=50)
    found = classify(list(pixels)).labels
    right = [classify.names[int(label)] == row[0] for label, row in zip(wanted, found, strict=True)]
    # Three standard errors of a mean over 500 images.
    assert np.mean(right) == pytest.approx(0.9169, abs=3 * np.sqrt(0.9169 * 0.0831 / 500))


def test_answers_to_questions_are_those_of_onnxruntime() -> None:
    pytest.importorskip("onnxruntime")
    context = (
        "The lighthouse of Port Ellery was built in 1847 by the engineer Thomas Garrow. It is 31 metres high."
    )
    ours, theirs = (Pipeline.create("qa", engine_type=engine) for engine in ("engine", "onnxruntime"))
    for question in ("When was the lighthouse built?", "Who built it?", "How high is it?"):
        left, right = (pipeline(question=question, context=context) for pipeline in (ours, theirs))
        assert (left.answer, left.start, left.end) == (right.answer, right.start, right.end)
        assert left.score == pytest.approx(right.score, abs=1.0)


@pytest.mark.parametrize("engine", ["engine", "onnxruntime"])
def test_detections_are_those_of_plain_loops_over_the_engines_output(shared: Path, engine: str) -> None:
    pytest.importorskip("onnxruntime")
    images, _, _ = _scenes(shared, 12)
    find: Any = Pipeline.create("object-detection", engine_type=engine)
    count = 0
    for image in images:
        found = find(image, conf_thres=0.3, iou_thres=0.5)[0]
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        rows = measures.suppress(find.engine.run([planes])[0][0], least=0.3, most=300, share=0.5)
        assert len(found.boxes) == len(rows)
        for box, score, label, row in zip(found.boxes, found.scores, found.labels, rows, strict=True):
            assert box == pytest.approx(np.clip(row[:4], 0, 160).tolist(), abs=1.0)
            assert score == pytest.approx(row[4], abs=1e-4)
            assert label == find.names[int(row[5])]
        count += len(rows)
    assert count > 24


def test_most_detections_are_those_of_onnxruntime(shared: Path) -> None:
    pytest.importorskip("onnxruntime")
    images, _, _ = _scenes(shared, 40)
    ours, theirs = (
        Pipeline.create("object-detection", engine_type=engine, batch_size=8)(images)
        for engine in ("engine", "onnxruntime")
    )
    same = [
        any(
            label == other and np.abs(np.subtract(box, near)).max() < 1.0
            for near, _, other in zip(*right, strict=True)
        )
        for left, right in zip(ours, theirs, strict=True)
        for box, _, label in zip(*left, strict=True)
    ]
    # A value halfway between two bytes goes either way, also between two settings of ONNX Runtime.
    assert len(same) > 80
    assert np.mean(same) > 0.95


def test_mean_precision_of_detections_is_in_keeping_with_its_readme(shared: Path) -> None:
    images, boxes, classes = _scenes(shared, 150)
    owner = np.repeat(np.arange(150), [len(part) for part in boxes])
    find: Any = Pipeline.create("object-detection", batch_size=15)
    numbers = {name: number for number, name in find.names.items()}
    rows = [
        (place, *box, score, numbers[label])
        for place, found in enumerate(find(images, conf_thres=0.01, iou_thres=0.6))
        for box, score, label in list(zip(found.boxes, found.scores, found.labels, strict=True))[:100]
    ]
    mean = measures.average_precision(np.array(rows), np.concatenate(boxes), np.concatenate(classes), owner)
    readme = (ROOT / "models" / "garments-detector-int8" / "README.md").read_text(encoding="utf-8")
    stated = re.search(r"this file.*?\| ([\d.]+) \| [\d.]+ \|$", readme, re.MULTILINE)
    assert stated is not None
    assert mean["map50"] == pytest.approx(float(stated[1]), abs=0.06)


def _scenes(shared: Path, count: int) -> tuple[list[Any], list[Any], list[Any]]:
    file, folder = shared / "data" / "make_detection.py", shared / "data" / "fashion-heldout"
    if not file.is_file() or not folder.is_dir():
        pytest.skip(f"needs {file.name} and {folder.name}, which are not here")
    spec = importlib.util.spec_from_file_location("make_detection", file)
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    made = generator.make(folder, "heldout", count, 160)
    parts = [made["owner"] == place for place in range(count)]
    return (
        list(made["images"]),
        [made["boxes"][part] for part in parts],
        [made["classes"][part] for part in parts],
    )
