"""`Pipeline.create` with the task in the name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.pipeline import Pipeline


def text_classification_pipeline(model_path: str | Path | None = None, **arguments: Any) -> Pipeline:
    """`Pipeline.create(task="text-classification", ...)`; arguments and errors are the same."""
    return Pipeline.create("text_classification", model_path, **arguments)


def sentiment_analysis_pipeline(model_path: str | Path | None = None, **arguments: Any) -> Pipeline:
    """`Pipeline.create(task="sentiment-analysis", ...)`; arguments and errors are the same."""
    return Pipeline.create("sentiment_analysis", model_path, **arguments)


def question_answering_pipeline(model_path: str | Path | None = None, **arguments: Any) -> Pipeline:
    """`Pipeline.create(task="question-answering", ...)`; arguments and errors are the same."""
    return Pipeline.create("question_answering", model_path, **arguments)


def token_classification_pipeline(model_path: str | Path | None = None, **arguments: Any) -> Pipeline:
    """`Pipeline.create(task="token-classification", ...)`; arguments and errors are the same."""
    return Pipeline.create("token_classification", model_path, **arguments)


def zero_shot_text_classification_pipeline(
    model_path: str | Path | None = None, **arguments: Any
) -> Pipeline:
    """`Pipeline.create(task="zero-shot-text-classification", ...)`; arguments and errors are the same."""
    return Pipeline.create("zero_shot_text_classification", model_path, **arguments)


def embedding_extraction_pipeline(model_path: str | Path | None = None, **arguments: Any) -> Pipeline:
    """`Pipeline.create(task="embedding-extraction", ...)`; arguments and errors are the same."""
    return Pipeline.create("embedding_extraction", model_path, **arguments)


def image_classification_pipeline(model_path: str | Path | None = None, **arguments: Any) -> Pipeline:
    """`Pipeline.create(task="image-classification", ...)`; arguments and errors are the same."""
    return Pipeline.create("image_classification", model_path, **arguments)


def yolo_pipeline(model_path: str | Path | None = None, **arguments: Any) -> Pipeline:
    """`Pipeline.create(task="yolo", ...)`; arguments and errors are the same."""
    return Pipeline.create("yolo", model_path, **arguments)
