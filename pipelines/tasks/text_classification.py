"""Task text-classification: one label, or several with scores, for each text or pair of texts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from engine import OptionError
from pipelines.labels import labels_of
from pipelines.registry import Task
from pipelines.scores import sigmoid, softmax
from pipelines.text import TextPipeline
from pipelines.tokenizer import Text

Array = NDArray[Any]


class TextClassificationInput(BaseModel):
    """One text, several texts, or several lists of one text or two (a pair)."""

    model_config = ConfigDict(extra="forbid")

    sequences: str | list[str] | list[list[str]] = Field(
        description="A text, a list of texts, or a list of pairs of texts.",
        examples=["Fast and easy to use.", ["A delight.", "A waste of time."]],
    )


class TextClassificationOutput(BaseModel):
    """Labels and scores in the order of the texts: flat for the best alone, ranked lists for several."""

    labels: list[str] | list[list[str]] = Field(
        description="The best label per text, or a ranked list per text."
    )
    scores: list[float] | list[list[float]] = Field(description="From 0 to 1, in the form of the labels.")


class TextClassificationPipeline(TextPipeline):
    """Classifies texts.

        classify = Pipeline.create(task="text-classification", top_k=2)
        classify("A delight.")                         # labels=[['positive', 'negative']] scores=[[0.9, 0.1]]
        classify(["A delight.", "A waste of time."])   # a batch of two; so is classify("A ...", "A ...")
        classify([["Is it raining?", "It is wet."]])   # one pair

    Scores are a softmax over the labels, or sigmoids where the model has one label or several at once.
    """

    def __init__(
        self,
        model_path: str | Path | None = None,
        *,
        top_k: int | None = None,
        return_all_scores: bool = False,
        **arguments: Any,
    ) -> None:
        """Create the pipeline; the other arguments are those of `TextPipeline`.

        top_k               labels per text, best first; 1 gives flat lists
        return_all_scores   deprecated word for top_k = number of labels

        Raises OptionError for a top_k below 1 or one that contradicts return_all_scores.
        """
        if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1):
            message = f"top_k must be a whole number from 1; got {top_k!r}."
            raise OptionError(message)
        super().__init__(model_path, **arguments)
        self.labels = labels_of(self.config)
        self.return_all_scores = return_all_scores
        self.top_k = 1 if top_k is None else top_k
        if return_all_scores:
            self._take_all_labels(top_k)

    @property
    def input_schema(self) -> type[TextClassificationInput]:
        return TextClassificationInput

    @property
    def output_schema(self) -> type[TextClassificationOutput]:
        return TextClassificationOutput

    def parse_inputs(self, *args: Any, **keywords: Any) -> BaseModel:
        if not args or keywords or isinstance(args[0], BaseModel):
            return super().parse_inputs(*args, **keywords)
        return TextClassificationInput(sequences=args[0] if len(args) == 1 else list(args))

    def process_inputs(self, inputs: TextClassificationInput) -> list[Array]:
        sequences = [inputs.sequences] if isinstance(inputs.sequences, str) else inputs.sequences
        return self.to_arrays([_text(entry) for entry in sequences])

    def process_engine_outputs(
        self, engine_outputs: list[Array], **_context: Any
    ) -> TextClassificationOutput:
        if not engine_outputs:
            return TextClassificationOutput(labels=[], scores=[])
        logits = self.logits(engine_outputs)
        independent = logits.shape[-1] == 1 or self.config.get("problem_type") == "multi_label_classification"
        scores = sigmoid(logits) if independent else softmax(logits)
        ranked = np.argsort(-scores, axis=-1, kind="stable")[:, : self.top_k]
        labels = [[self._label(index) for index in row] for row in ranked.tolist()]
        best = np.take_along_axis(scores, ranked, axis=-1).tolist()
        if self.top_k == 1 and not self.return_all_scores:
            return TextClassificationOutput(
                labels=[row[0] for row in labels], scores=[row[0] for row in best]
            )
        return TextClassificationOutput(labels=labels, scores=best)

    def _take_all_labels(self, top_k: int | None) -> None:
        message = f"return_all_scores is deprecated; use top_k={len(self.labels)}."
        if top_k not in (None, len(self.labels)):
            contradiction = f"{message} It contradicts top_k={top_k}."
            raise OptionError(contradiction)
        warnings.warn(message, DeprecationWarning, stacklevel=4)
        self.top_k = len(self.labels)

    def _label(self, index: int) -> str:
        return self.labels.get(index, f"LABEL_{index}")


def _text(entry: str | list[str]) -> Text:
    if isinstance(entry, str):
        return entry
    if len(entry) == 1:
        return entry[0]
    if len(entry) == 2:
        return entry[0], entry[1]
    message = f"A list within the list holds one text or a pair of texts; got {len(entry)} texts."
    raise ValueError(message)


TASK = Task(
    name="text_classification",
    pipeline=TextClassificationPipeline,
    aliases=("glue", "sentiment_analysis"),
    default_model_path="embedded:sentiment-minilm-l3-pruned80-int8",
)
