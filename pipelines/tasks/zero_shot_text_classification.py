"""Task zero-shot-text-classification: labels that are named with the request, by a model of entailment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from engine import ModelError, OptionError
from pipelines.registry import Task
from pipelines.scores import softmax
from pipelines.text import TextPipeline

Array = NDArray[Any]


class ZeroShotTextClassificationInput(BaseModel):
    """Texts, and the labels to choose from."""

    model_config = ConfigDict(extra="forbid")

    sequences: str | list[str] = Field(
        description="A text or a list of texts.", examples=["The match was lost."]
    )
    labels: list[str] | None = Field(
        default=None, description="Labels, or one string with commas.", examples=[["sport", "politics"]]
    )
    hypothesis_template: str | None = Field(default=None, description="A sentence with {} for the label.")
    multi_class: bool | None = Field(default=None, description="Whether several labels may hold at once.")

    @field_validator("labels", mode="before")
    @classmethod
    def _split(cls, labels: Any) -> Any:
        return _as_labels(labels)


class ZeroShotTextClassificationOutput(BaseModel):
    """Labels with scores, best first: flat for one text, nested for a list."""

    sequences: str | list[str] = Field(description="The texts.")
    labels: list[str] | list[list[str]] = Field(description="All labels, best first.")
    scores: list[float] | list[list[float]] = Field(description="From 0 to 1, in the form of the labels.")


class ModelScheme(BaseModel):
    """How a model of entailment is asked."""

    model_config = ConfigDict(extra="forbid")

    hypothesis_template: str = Field(default="This text is about {}", description="A sentence with {}.")
    entailment_index: int = Field(default=0, ge=0, le=2, description="The class that says yes.")
    contradiction_index: int = Field(default=2, ge=0, le=2, description="The class that says no.")
    multi_class: bool = Field(default=False, description="Whether several labels may hold at once.")


class ZeroShotTextClassificationPipeline(TextPipeline):
    """Classifies texts by any labels.

        classify = Pipeline.create("zero-shot-text-classification", model_path="mnli/", labels=["sport", "politics"])
        classify("The match was lost.")        # labels=['sport', 'politics'] scores=[0.97, 0.03]

    Each label makes a pair of text and hypothesis; all pairs of a request are one batch.
    """

    def __init__(
        self,
        model_path: str | Path | None = None,
        *,
        model_scheme: str = "mnli",
        model_config: Mapping[str, Any] | ModelScheme | None = None,
        labels: list[str] | str | None = None,
        **arguments: Any,
    ) -> None:
        """Create the pipeline; the other arguments are those of `TextPipeline`.

        model_scheme   mnli is the only one
        model_config   fields of `ModelScheme`; what it leaves out is read from the labels of the model's config
        labels         the labels of every request; None: each brings its own

        Raises OptionError for another scheme, equal indices or a template without {}.
        """
        if model_scheme != "mnli":
            message = f'model_scheme must be "mnli"; got "{model_scheme}".'
            raise OptionError(message)
        super().__init__(model_path, **arguments)
        given = dict(
            model_config.model_dump() if isinstance(model_config, ModelScheme) else model_config or {}
        )
        self.scheme = ModelScheme(**(_indices(self.config) | given))
        if self.scheme.entailment_index == self.scheme.contradiction_index:
            message = f"entailment_index and contradiction_index are both {self.scheme.entailment_index}."
            raise OptionError(message)
        _filled(self.scheme.hypothesis_template, "")
        self.labels: list[str] | None = _as_labels(labels)

    @property
    def input_schema(self) -> type[ZeroShotTextClassificationInput]:
        return ZeroShotTextClassificationInput

    @property
    def output_schema(self) -> type[ZeroShotTextClassificationOutput]:
        return ZeroShotTextClassificationOutput

    def parse_inputs(self, *args: Any, **keywords: Any) -> BaseModel:
        if not args or isinstance(args[0], BaseModel):
            return super().parse_inputs(*args, **keywords)
        return ZeroShotTextClassificationInput(
            sequences=args[0] if len(args) == 1 else list(args), **keywords
        )

    def process_inputs(self, inputs: ZeroShotTextClassificationInput) -> tuple[list[Array], dict[str, Any]]:
        if (inputs.labels is None) == (self.labels is None):
            message = "Give labels either to the pipeline or with the request" + (
                "." if inputs.labels is None else ", not to both."
            )
            raise ValueError(message)
        labels = inputs.labels or self.labels or []
        if not labels:
            message = "labels is empty; name at least one."
            raise ValueError(message)
        texts = [inputs.sequences] if isinstance(inputs.sequences, str) else inputs.sequences
        template = inputs.hypothesis_template or self.scheme.hypothesis_template
        pairs = [(text, _filled(template, label)) for text in texts for label in labels]
        return self.in_order(self._pairs(pairs)), {"inputs": inputs, "labels": labels}

    def process_engine_outputs(
        self, engine_outputs: list[Array], **context: Any
    ) -> ZeroShotTextClassificationOutput:
        inputs, labels = context["inputs"], context["labels"]
        if not engine_outputs:
            return ZeroShotTextClassificationOutput(sequences=inputs.sequences, labels=[], scores=[])
        classes = engine_outputs[0].shape[-1]
        if max(self.scheme.entailment_index, self.scheme.contradiction_index) >= classes:
            message = (
                f"{self.onnx_file_path} has {classes} classes; a model of entailment needs those of "
                f"entailment_index and contradiction_index ({self.scheme!r}). Name them with model_config."
            )
            raise ModelError(message)
        logits = engine_outputs[0].reshape(-1, len(labels), classes)
        yes, no = logits[..., self.scheme.entailment_index], logits[..., self.scheme.contradiction_index]
        several = self.scheme.multi_class if inputs.multi_class is None else inputs.multi_class
        scores = softmax(np.stack([yes, no], -1))[..., 0] if several or len(labels) == 1 else softmax(yes)
        order = np.argsort(-scores, axis=-1, kind="stable")
        named = [[labels[index] for index in row] for row in order.tolist()]
        ranked = np.take_along_axis(scores, order, axis=-1).tolist()
        if isinstance(inputs.sequences, str):
            named, ranked = named[0], ranked[0]
        return ZeroShotTextClassificationOutput(sequences=inputs.sequences, labels=named, scores=ranked)

    def _pairs(self, pairs: list[tuple[str, str]]) -> Mapping[str, Array]:
        """Pairs of which only the text is cut, never the hypothesis."""
        encoder = self.exact_encoder()
        rows = []
        for text, hypothesis in pairs:
            asked = encoder.pieces(hypothesis).ids[: encoder.room(2)]
            rows.append(encoder.frame([encoder.pieces(text).ids[: encoder.room(2) - len(asked)], asked]))
        return encoder.pad(rows)


def _as_labels(labels: Any) -> Any:
    return [part.strip() for part in labels.split(",")] if isinstance(labels, str) else labels


def _filled(template: str, label: str) -> str:
    if "{}" not in template:
        message = f'hypothesis_template needs {{}} for the label; got "{template}".'
        raise OptionError(message)
    return template.format(label)


def _indices(config: Mapping[str, Any]) -> dict[str, int]:
    """Where the model's own names of its classes say yes and no."""
    named = {str(name).lower(): int(index) for index, name in (config.get("id2label") or {}).items()}
    found: dict[str, int] = {}
    for name, index in named.items():
        if name.startswith("entail"):
            found["entailment_index"] = index
        elif name.startswith("contra"):
            found["contradiction_index"] = index
    return found


TASK = Task(name="zero_shot_text_classification", pipeline=ZeroShotTextClassificationPipeline)
