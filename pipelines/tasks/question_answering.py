"""Task question-answering: the part of a passage that answers a question."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from engine import ModelError, OptionError
from pipelines.names import did_you_mean
from pipelines.registry import Task
from pipelines.scores import softmax
from pipelines.spans import Span, best_spans, likeliest_span, windows
from pipelines.text import TextPipeline

Array = NDArray[Any]
SCORES = ("sum", "probability")


class QuestionAnsweringInput(BaseModel):
    """A question and the passage that may answer it."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(description="The question.", examples=["Who is Mark?"])
    context: str = Field(description="The passage.", examples=["Mark is batman."])
    id: str | None = Field(default=None, description="A name of the question for files of predictions.")


class QuestionAnsweringOutput(BaseModel):
    """The answer: `context[start:end] == answer`."""

    score: float = Field(description="The sum of the logits of its first and last token, or a probability.")
    answer: str = Field(description="The part of the passage; empty when there is none.")
    start: int = Field(description="First character in the passage.")
    end: int = Field(description="Character after the last.")


@dataclass(frozen=True, slots=True)
class Window:
    """One row of a request: where the passage's tokens stand in it, and their characters."""

    begin: int
    offsets: list[tuple[int, int]]
    null: int


class QuestionAnsweringPipeline(TextPipeline):
    """Answers questions with a part of a passage.

        ask = Pipeline.create(task="question-answering")
        ask(question="Who is Mark?", context="Mark is batman.")    # score=... answer='batman' start=8 end=14

    A passage that is longer than a row is read in windows that overlap; they are one batch.
    """

    token_axes: ClassVar[int | None] = 2

    def __init__(  # noqa: PLR0913 - the task's public keywords
        self,
        model_path: str | Path | None = None,
        *,
        doc_stride: int = 64,
        max_question_length: int = 64,
        max_answer_length: int = 15,
        n_best_size: int = 20,
        num_spans: int | None = None,
        pad_to_max_length: bool = True,
        version_2_with_negative: bool = False,
        score: str = "sum",
        output_dir: str | Path | None = None,
        **arguments: Any,
    ) -> None:
        """Create the pipeline; the other arguments are those of `TextPipeline`.

        doc_stride                tokens that a window shares with the one before it; cut where it does not fit
        max_question_length       longer questions are cut
        max_answer_length         tokens of an answer at most
        n_best_size               starts and ends of each window that are paired
        num_spans                 windows that are read at most; None: all
        pad_to_max_length         False is `sequence_length=None`: windows as long as their text
        version_2_with_negative   whether there may be no answer: an empty one, when its score is the best
        score                     sum: of the two logits; probability: their product after a softmax over the
                                  window, as transformers ranks windows
        output_dir                a folder to append predictions.json and nbest_predictions.json in

        Raises OptionError for a number below 1, an unknown score or a missing folder.
        """
        least = {"doc_stride": (doc_stride, 0), "num_spans": (1 if num_spans is None else num_spans, 1)}
        least |= {
            "max_question_length": (max_question_length, 1),
            "max_answer_length": (max_answer_length, 1),
        }
        _check({**least, "n_best_size": (n_best_size, 1)}, score, output_dir)
        self.doc_stride, self.max_question_length = doc_stride, max_question_length
        self.max_answer_length, self.n_best_size = max_answer_length, n_best_size
        self.num_spans, self.version_2_with_negative = num_spans, version_2_with_negative
        self.score = score
        self.output_dir = None if output_dir is None else Path(output_dir)
        if not pad_to_max_length and isinstance(arguments.get("sequence_length", 128), int):
            arguments["sequence_length"] = None
        super().__init__(model_path, **arguments)
        self.exact_encoder()

    @property
    def input_schema(self) -> type[QuestionAnsweringInput]:
        return QuestionAnsweringInput

    @property
    def output_schema(self) -> type[QuestionAnsweringOutput]:
        return QuestionAnsweringOutput

    def process_inputs(self, inputs: QuestionAnsweringInput) -> tuple[list[Array], dict[str, Any]]:
        encoder = self.exact_encoder()
        room = encoder.room(2)
        # A question may not take the passage's whole place.
        asked = encoder.pieces(inputs.question).ids[: min(self.max_question_length, room - max(1, room // 4))]
        passage = encoder.pieces(inputs.context)
        parts = windows(len(passage.ids), room - len(asked), self.doc_stride)[: self.num_spans]
        # The side that is padded is the passage's.
        first = encoder.padding.side == "right"
        rows, found = [], []
        for low, high in parts:
            piece = passage.ids[low:high]
            rows.append(encoder.frame([asked, piece] if first else [piece, asked]))
            begin = encoder.first_of(2, len(asked)) if first else encoder.first_of(1)
            found.append(Window(begin, passage.offsets[low:high], 0))
        arrays = encoder.pad(rows)
        if not first:
            width = arrays["input_ids"].shape[1]
            found = [
                Window(window.begin + width - len(row.ids), window.offsets, width - len(row.ids))
                for window, row in zip(found, rows, strict=True)
            ]
        return self.in_order(arrays), {"inputs": inputs, "windows": found}

    def process_engine_outputs(self, engine_outputs: list[Array], **context: Any) -> QuestionAnsweringOutput:
        if len(engine_outputs) != 2:
            message = (
                f"A question-answering model has two outputs, start and end logits; {self.onnx_file_path} has "
                f"{len(engine_outputs)}."
            )
            raise ModelError(message)
        answers, null = self._answers(context["inputs"].context, context["windows"], *engine_outputs)
        empty = QuestionAnsweringOutput(score=null, answer="", start=0, end=0)
        if self.version_2_with_negative or not answers:
            answers.append(empty)
        answers.sort(key=lambda answer: -answer.score)
        if self.output_dir is not None:
            _append(self.output_dir, context["inputs"], answers[: self.n_best_size], null)
        return answers[0]

    def _answers(
        self, text: str, found: list[Window], starts: Array, ends: Array
    ) -> tuple[list[QuestionAnsweringOutput], float]:
        """All candidates of all windows, and the least score that a window gives to no answer."""
        answers: list[QuestionAnsweringOutput] = []
        null = np.inf
        for window, start, end in zip(found, starts, ends, strict=True):
            inside = slice(window.begin, window.begin + len(window.offsets))
            if self.score == "sum":
                null = min(null, float(start[window.null]) + float(end[window.null]))
                spans = best_spans(start[inside], end[inside], self.max_answer_length, self.n_best_size)
                answers += [_answer(text, window, span) for span in spans]
                continue
            # No answer competes with the passage's tokens for the window's whole probability.
            shares = [softmax(np.r_[row[window.null], row[inside]]) for row in (start, end)]
            null = min(null, float(shares[0][0] * shares[1][0]))
            best = likeliest_span(shares[0][1:], shares[1][1:], self.max_answer_length)
            if best is not None:
                _merge(answers, _answer(text, window, best))
        return answers, null


def _check(numbers: dict[str, tuple[int, int]], score: str, output_dir: str | Path | None) -> None:
    """Raises OptionError for a number below its least value, an unknown score and a missing folder."""
    for name, (number, least) in numbers.items():
        if number < least:
            message = f"{name} must be at least {least}; got {number}."
            raise OptionError(message)
    if score not in SCORES:
        message = f'Unknown score "{score}"{did_you_mean(score, SCORES)} Known: {", ".join(SCORES)}.'
        raise OptionError(message)
    if output_dir is not None and not Path(output_dir).is_dir():
        message = f"output_dir {output_dir} is not a folder; make it first."
        raise OptionError(message)


def _answer(text: str, window: Window, span: Span) -> QuestionAnsweringOutput:
    start, end = window.offsets[span.first][0], window.offsets[span.last][1]
    return QuestionAnsweringOutput(score=span.score, answer=text[start:end], start=start, end=end)


def _merge(answers: list[QuestionAnsweringOutput], answer: QuestionAnsweringOutput) -> None:
    """Two windows that give the same text are one answer, with the sum of their probabilities."""
    for place, known in enumerate(answers):
        if known.answer.lower() == answer.answer.lower():
            answers[place] = known.model_copy(update={"score": known.score + answer.score})
            return
    answers.append(answer)


def _append(
    folder: Path, inputs: QuestionAnsweringInput, answers: list[QuestionAnsweringOutput], null: float
) -> None:
    name = inputs.id or inputs.question
    lines = {
        "predictions.json": {name: answers[0].answer},
        "nbest_predictions.json": {name: [answer.model_dump() for answer in answers]},
        "null_odds.json": {name: null - next((a.score for a in answers if a.answer), null)},
    }
    for file, line in lines.items():
        with (folder / file).open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(line, ensure_ascii=False) + "\n")


TASK = Task(
    name="question_answering",
    pipeline=QuestionAnsweringPipeline,
    aliases=("qa",),
    default_model_path="embedded:qa-minilm-l6-int8",
)
