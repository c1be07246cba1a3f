"""Raw input to answer: pipelines for tasks, each with input and output schemas.

from pipelines import Pipeline

classify = Pipeline.create(task="sentiment-analysis")
print(classify("The film is a delight."))
"""

from pipelines.config import PipelineConfig
from pipelines.engines import ENGINES, EngineArguments, EngineLike
from pipelines.pipeline import Pipeline
from pipelines.registry import Task, find_task
from pipelines.shorthands import (
    embedding_extraction_pipeline,
    image_classification_pipeline,
    question_answering_pipeline,
    sentiment_analysis_pipeline,
    text_classification_pipeline,
    token_classification_pipeline,
    yolo_pipeline,
    zero_shot_text_classification_pipeline,
)
from pipelines.text import TextPipeline
from pipelines.timers import StagedTimer, TimerManager

__all__ = [
    "ENGINES",
    "EngineArguments",
    "EngineLike",
    "Pipeline",
    "PipelineConfig",
    "StagedTimer",
    "Task",
    "TextPipeline",
    "TimerManager",
    "embedding_extraction_pipeline",
    "find_task",
    "image_classification_pipeline",
    "question_answering_pipeline",
    "sentiment_analysis_pipeline",
    "text_classification_pipeline",
    "token_classification_pipeline",
    "yolo_pipeline",
    "zero_shot_text_classification_pipeline",
]
