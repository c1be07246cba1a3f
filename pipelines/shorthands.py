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
