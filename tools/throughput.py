"""Texts per second of the sentiment pipeline, beside transformers' tokenizer with ONNX Runtime; and a call's overhead.

    python tools/throughput.py [--data FOLDER] [--texts 1000] [--rounds 5]

The texts are held-out sentences as they come, of 4 to 91 tokens. ONNX Runtime runs the same quantised file, and the
same network with dense f32 weights and without quantisation, one text at a time and in padded batches, as they come and
sorted by length; the best of these counts. All take turns; a figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "pipelines")]

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from plain_model import plain_model  # noqa: E402

from pipelines import Pipeline  # noqa: E402
from pipelines.deployment import models_folder  # noqa: E402

MODEL = models_folder() / "sentiment-minilm-l3-pruned80-int8"
SETS = ("reviews-heldout.tsv.gz", "sst2-heldout.tsv.gz")
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# A contestant answers all texts; what it gives is the labels.
Contestant = Callable[[list[str]], list[str]]


def read_texts(data: Path, count: int) -> list[str]:
    """Sentences of all sets in one random order, always the same. Raises FileNotFoundError."""
    texts = []
    for name in SETS:
        with gzip.open(data / name, "rt", encoding="utf-8") as lines:
            texts += [line.rpartition("\t")[0] for line in lines][1:]
    random.Random(7).shuffle(texts)
    return texts[:count]


def ours(request: int) -> Contestant:
    """The pipeline with texts as long as they are, `request` of them at a time."""
    classify: Any = Pipeline.create("sentiment-analysis", batch_size=None, sequence_length=None)

    def answer(texts: list[str]) -> list[str]:
        parts = [texts[begin : begin + request] for begin in range(0, len(texts), request)]
        return [label for found in classify.map(parts) for label in found.labels]

    return answer


def theirs(file: Path, batch: int, *, by_length: bool) -> Contestant:
    """transformers' tokenizer, ONNX Runtime, softmax; rows of a batch are padded to its longest."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(MODEL), local_files_only=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def answer(texts: list[str]) -> list[str]:
        order = (
            sorted(range(len(texts)), key=lambda place: len(texts[place])) if by_length else range(len(texts))
        )
        found = [""] * len(texts)
        for begin in range(0, len(texts), batch):
            places = list(order[begin : begin + batch])
            rows = tokenizer(
                [texts[place] for place in places],
                padding=True,
                truncation=True,
                max_length=128,
                return_tensors="np",
            )
            (logits,) = session.run(None, {name: rows[name].astype(np.int64) for name in names})
            powers = np.exp(logits - logits.max(-1, keepdims=True))
            scores = powers / powers.sum(-1, keepdims=True)
            for place, best in zip(places, scores.argmax(-1).tolist(), strict=True):
                found[place] = ("negative", "positive")[best]
        return found

    return answer


def contestants(folder: Path) -> Iterator[tuple[str, Contestant]]:
    """Names and contestants, ours first."""
    yield "ours, 1 text a request", ours(1)
    yield "ours, 64 texts a request", ours(64)
    dense = folder / "model.onnx"
    onnx.save(plain_model(onnx.load(str(MODEL / "model.onnx"))), str(dense))
    for name, file in (("dense f32", dense), ("the same file", MODEL / "model.onnx")):
        yield f"onnxruntime, {name}, batch 1", theirs(file, 1, by_length=False)
        for batch in (8, 32):
            for by_length in (False, True):
                how = "by length" if by_length else "as they come"
                yield f"onnxruntime, {name}, batch {batch} {how}", theirs(file, batch, by_length=by_length)


def measure(texts: list[str], rounds: int) -> dict[str, float]:
    """Texts per second of each contestant, printed and returned."""
    with tempfile.TemporaryDirectory() as folder:
        rows = list(contestants(Path(folder)))
        expected = rows[0][1](texts)
        for name, answer in rows:
            same = np.mean([a == b for a, b in zip(answer(texts), expected, strict=True)])
            sys.stdout.write(f"{name}: {same:.1%} of the labels are the first one's\n")
        times: dict[str, list[float]] = {name: [] for name, _ in rows}
        for _ in range(rounds):
            for name, answer in rows:
                begin = perf_counter()
                answer(texts)
                times[name].append(perf_counter() - begin)
    paces = {name: len(texts) / median(spent) for name, spent in times.items()}
    for name, pace in paces.items():
        sys.stdout.write(f"{name:<46} {pace:8.0f} texts/s\n")
    return paces


def overhead(texts: list[str], calls: int = 400) -> None:
    """Milliseconds of everything but the engine, for sentences of 128 tokens one at a time."""
    classify: Any = Pipeline.create("sentiment-analysis", sequence_length=128, benchmark=True)
    whole = " ".join(texts[:20])
    pieces = classify.exact_encoder().pieces(whole)
    sentence = whole[: pieces.offsets[classify.exact_encoder().room(1) - 1][1]]
    for _ in range(20):
        classify(sentence)
    classify.timer_manager.clear()
    for _ in range(calls):
        classify(sentence)
    spent = classify.timer_manager.all_times
    engine = np.array(spent["engine_forward"]) * 1e3
    rest = np.array(spent["total_inference"]) * 1e3 - engine
    sys.stdout.write(
        f"one sentence of 128 tokens: {median(rest):.2f} ms beside the engine's {median(engine):.2f} ms "
        f"({np.percentile(rest, 90):.2f} ms in one call of ten)\n"
    )


def main() -> int:
    """Print every contestant's pace and what the best of each kind makes of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the data sets"
    )
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    texts = read_texts(given.data, given.texts)
    sys.stdout.write(f"{len(texts)} texts, {THREADS} threads, onnxruntime {onnxruntime.__version__}\n")
    paces = measure(texts, given.rounds)
    best = {
        part: max(pace for name, pace in paces.items() if part in name)
        for part in ("ours", "dense f32", "same")
    }
    sys.stdout.write(
        f"best against best: {best['ours'] / best['dense f32']:.2f} x the dense f32 model, "
        f"{best['ours'] / best['same']:.2f} x the same quantised file\n"
    )
    overhead(texts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
