"""Writes the golden answers of the text tasks: what transformers' own pipelines say with the same weights.

    python tools/golden/make.py [TASK ...]

Needs torch, transformers below 5 (which still has the question-answering pipeline) and onnxruntime. The models
are the embedded ones with their int8 weights as f32 (`tests/pipelines/plain_model.py`), run by ONNX Runtime
inside transformers' pipelines. The files tests/pipelines/golden/*.json.gz hold inputs and answers.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
from inputs import questions, texts
from transformers.modeling_outputs import (
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "pipelines"))
MODELS, GOLDEN = ROOT / "pipelines" / "models", ROOT / "tests" / "pipelines" / "golden"
LENGTH, WINDOW, STRIDE = 128, 96, 32
STRATEGIES = ("none", "simple", "first", "average", "max")


def text_classification() -> list[dict[str, Any]]:
    """One text or a pair each; all labels with scores."""
    pipe = _pipeline(
        "text-classification", "sentiment-minilm-l3-pruned80-int8", "ForSequenceClassification", LENGTH
    )
    rows: list[dict[str, Any]] = []
    for text in texts():
        answer = pipe(text, top_k=None, truncation=True, max_length=LENGTH)
        rows.append({"text": text, "scores": {entry["label"]: entry["score"] for entry in answer}})
    for first, second in zip(texts()[2:30], texts()[30:58], strict=True):
        answer = pipe({"text": first, "text_pair": second}, top_k=None, truncation=True, max_length=LENGTH)
        rows.append({"text": [first, second], "scores": {entry["label"]: entry["score"] for entry in answer}})
    return rows


def token_classification() -> list[dict[str, Any]]:
    """Every strategy for every text: tag, score, text, start, end."""
    pipe = _pipeline("token-classification", "ner-minilm-l6-int8", "ForTokenClassification", LENGTH)
    rows = []
    for text in texts():
        found: dict[str, list[Any]] = {}
        # Its own check refuses the empty text; there is nothing in it to find.
        for strategy in STRATEGIES if text else ():
            entities = pipe(text, aggregation_strategy=strategy)
            found[strategy] = [
                [
                    entity.get("entity_group", entity.get("entity")),
                    round(float(entity["score"]), 5),
                    entity["word"],
                    entity["start"],
                    entity["end"],
                    entity.get("index"),
                ]
                for entity in entities
            ]
        rows.append({"text": text, "entities": found})
    return rows


def question_answering() -> list[dict[str, Any]]:
    """The best answer for every question, with and without the choice of no answer."""
    pipe = _pipeline("question-answering", "qa-minilm-l6-int8", "ForQuestionAnswering", WINDOW)
    options = {"max_seq_len": WINDOW, "doc_stride": STRIDE, "align_to_words": False}
    rows = []
    for question, context in questions():
        answers = []
        for null in (False, True):
            answer = pipe(question=question, context=context, handle_impossible_answer=null, **options)
            answers.append(
                [round(float(answer["score"]), 6), answer["answer"], answer["start"], answer["end"]]
            )
        rows.append({"question": question, "context": context, "answers": answers})
    return rows


def _pipeline(task: str, name: str, head: str, length: int) -> Any:
    from plain_model import plain_model

    folder = MODELS / name
    session = onnxruntime.InferenceSession(
        plain_model(onnx.load(str(folder / "model.onnx"))).SerializeToString()
    )
    config = transformers.BertConfig.from_pretrained(str(folder))
    # The layers are never run: they stand for a model that ONNX Runtime computes.
    config.num_hidden_layers = 1
    model = getattr(transformers, f"Bert{head}")(config).eval()
    model.forward = MethodType(_forward(session), model)
    tokenizer = transformers.BertTokenizerFast.from_pretrained(str(folder), model_max_length=length)
    return transformers.pipeline(task, model=model, tokenizer=tokenizer, framework="pt", device="cpu")


def _forward(session: Any) -> Callable[..., Any]:
    def forward(_self: Any, input_ids: Any, attention_mask: Any, token_type_ids: Any, **_: Any) -> Any:
        arrays = (np.asarray(array, dtype=np.int64) for array in (input_ids, attention_mask, token_type_ids))
        names = [entry.name for entry in session.get_inputs()]
        outputs = [
            torch.from_numpy(output) for output in session.run(None, dict(zip(names, arrays, strict=True)))
        ]
        if len(outputs) == 2:
            return QuestionAnsweringModelOutput(start_logits=outputs[0], end_logits=outputs[1])
        kind = TokenClassifierOutput if outputs[0].ndim == 3 else SequenceClassifierOutput
        return kind(logits=outputs[0])

    return forward


TASKS = {task.__name__: task for task in (text_classification, token_classification, question_answering)}


def main() -> None:
    """Write the files of the tasks named on the command line, or of all."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name in sys.argv[1:] or TASKS:
        rows = TASKS[name]()
        text = json.dumps({"transformers": transformers.__version__, "rows": rows}, ensure_ascii=False)
        file = GOLDEN / f"{name}.json.gz"
        # Without a time stamp, so that the same answers are the same bytes.
        file.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
        sys.stdout.write(f"{file.name}: {len(rows)} rows, {file.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
