"""The held-out accuracy of every embedded model, through its pipeline and our engine: `make accuracy`.

    python tools/accuracy.py [--data FOLDER] [--engine engine] [--rows N] [MODEL ...]

FOLDER is that of the data sets beside the checkout. A part whose data are missing is left out with the reason.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools" / "train")]

from measures import average_precision, entities, plain, word_f1  # noqa: E402

from pipelines import Pipeline  # noqa: E402

DETECTION_SCENES = 1000


def sentiment(data: Path, **options: Any) -> Iterator[str]:
    """Share of sentences with the right label, in percent."""
    for name in ("sst2-heldout", "reviews-heldout"):
        rows = [line.rstrip("\n").rsplit("\t", 1) for line in _lines(data / f"{name}.tsv.gz")][1:][
            : options["rows"]
        ]
        classify = Pipeline.create("sentiment-analysis", engine_type=options["engine"])
        labels = [classify(text).labels[0] for text, _ in rows]
        right = [
            label == ("negative", "positive")[int(wanted)]
            for label, (_, wanted) in zip(labels, rows, strict=True)
        ]
        yield f"{name}: {100 * np.mean(right):.1f} % of {len(rows)}"


def entity(data: Path, **options: Any) -> Iterator[str]:
    """Entity F1 per source, from the first piece of every word."""
    find: Any = Pipeline.create("ner", ignore_labels=[], engine_type=options["engine"])
    counts: dict[str, Any] = {}
    for line in _lines(data / "ner-heldout.jsonl.gz")[: options["rows"]]:
        row = json.loads(line)
        found = find(row["tokens"], is_split_into_words=True)[0]
        starts = np.cumsum([0, *(len(word) + 1 for word in row["tokens"])]).tolist()
        tags = ["O"] * len(row["tokens"])
        for result in found:
            tags[int(np.searchsorted(starts, result.start, side="right")) - 1] = result.entity
        ours, theirs = entities(tags), entities(row["tags"])
        if row["source"] == "btc":
            # That corpus does not mark MISC.
            ours = {entry for entry in ours if entry[2] != "MISC"}
        for name in (row["source"], "all"):
            counts[name] = counts.get(name, 0) + np.array([len(ours & theirs), len(ours), len(theirs)])
    for name, (both, ours, theirs) in sorted(counts.items()):
        yield f"{name}: F1 {200 * both / (ours + theirs):.1f} % ({theirs} entities)"


def answers(data: Path, **options: Any) -> Iterator[str]:
    """SQuAD's exact match and F1, in percent."""
    ask = Pipeline.create(
        "qa", sequence_length=[128, 256], doc_stride=96, max_answer_length=30, engine_type=options["engine"]
    )
    for name in ("qa-heldout-wiki", "qa-heldout-xquad"):
        asked = [
            (question, passage["context"])
            for passage in map(json.loads, _lines(data / f"{name}.jsonl.gz"))
            for question in passage["questions"]
        ][: options["rows"]]
        exact, overlap = [], []
        for question, context in asked:
            answer = ask(question=question["question"], context=context).answer
            exact.append(max(plain(answer) == plain(text) for text, _ in question["answers"]))
            overlap.append(max(word_f1(answer, text) for text, _ in question["answers"]))
        yield f"{name}: exact {100 * np.mean(exact):.1f} %, F1 {100 * np.mean(overlap):.1f} % of {len(asked)}"


def garments(data: Path, **options: Any) -> Iterator[str]:
    """Share of images with the right label, in percent."""
    folder = data / "fashion-heldout"
    images = np.frombuffer(
        gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
    )
    labels = np.frombuffer(
        gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
    )
    images, labels = images.reshape(-1, 28, 28)[: options["rows"]], labels[: options["rows"]]
    classify: Any = Pipeline.create("image-classification", batch_size=50, engine_type=options["engine"])
    found = classify(list(images)).labels
    right = [classify.names[int(label)] == row[0] for label, row in zip(labels, found, strict=True)]
    yield f"Fashion-MNIST test: {100 * np.mean(right):.2f} % of {len(right)}"


def scenes(data: Path, **options: Any) -> Iterator[str]:
    """Mean average precision at IoU 0.5, and over 0.5:0.95."""
    content = _module(data / "make_detection.py").make(
        data / "fashion-heldout", "heldout", min(options["rows"] or DETECTION_SCENES, DETECTION_SCENES), 160
    )
    find: Any = Pipeline.create("object-detection", batch_size=20, engine_type=options["engine"])
    numbers = {name: number for number, name in find.names.items()}
    rows = []
    for begin in range(0, len(content["images"]), 20):
        answer = find(list(content["images"][begin : begin + 20]), conf_thres=0.01, iou_thres=0.6)
        for place, found in enumerate(answer):
            for box, score, label in list(zip(found.boxes, found.scores, found.labels, strict=True))[:100]:
                rows.append((begin + place, *box, score, numbers[label]))
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    mean = average_precision(table, content["boxes"], content["classes"], content["owner"])
    yield f"synthetic scenes: mAP@0.5 {mean['map50']:.3f}, mAP@0.5:0.95 {mean['map']:.3f} of {len(content['images'])}"


Part = Callable[..., Iterator[str]]
MODELS: dict[str, Part] = {
    "sentiment-minilm-l3-pruned80-int8": sentiment,
    "ner-minilm-l6-int8": entity,
    "qa-minilm-l6-int8": answers,
    "garments-cnn-int8": garments,
    "garments-detector-int8": scenes,
}


def _lines(file: Path) -> list[str]:
    with gzip.open(file, "rt", encoding="utf-8") as opened:
        return list(opened)


def _module(file: Path) -> Any:
    if not file.is_file():
        raise FileNotFoundError(file)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Print one line per set of data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; all without a name"
    )
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the data sets"
    )
    parser.add_argument("--engine", default="engine", help="engine or onnxruntime")
    parser.add_argument("--rows", type=int, help="of each set at most")
    given = parser.parse_args()
    for name in given.models or MODELS:
        sys.stdout.write(f"{name}\n")
        try:
            for line in MODELS[name](given.data, engine=given.engine, rows=given.rows):
                sys.stdout.write(f"  {line}\n")
                sys.stdout.flush()
        except FileNotFoundError as error:
            sys.stdout.write(f"  left out: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
