"""A pipeline as data: what `to_config` writes and `from_config` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class PipelineConfig(BaseModel):
    """Everything needed to create a pipeline again; survives JSON."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    task: str = Field(description="Name or alias of the task, with hyphens or underscores.")
    model_path: str | None = Field(default=None, description="File, folder or stub; None: the task's own.")
    engine_type: str = Field(default="engine", description="engine, deepsparse (the same) or onnxruntime.")
    batch_size: int | None = Field(default=1, description="Rows per engine call; None: as they come.")
    num_cores: int | None = Field(default=None, description="Physical cores; None: all.")
    num_streams: int | None = Field(default=None, description="Requests at once; None: the scheduler's.")
    scheduler: str | None = Field(default=None, description="default, single_stream, multi_stream, elastic.")
    input_shapes: list[list[int]] | None = Field(default=None, description="Shapes, one per input.")
    alias: str | None = Field(default=None, description="The instance's own name, for logs.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments of this task alone.")

    @classmethod
    def read(cls, source: PipelineConfig | str | Path) -> PipelineConfig:
        """From a config, JSON text, or the path of a JSON file.

        Raises FileNotFoundError without the file, and ValidationError (a ValueError) for bad fields.
        """
        if isinstance(source, PipelineConfig):
            return source
        if isinstance(source, str) and source.lstrip().startswith("{"):
            return cls.model_validate_json(source)
        return cls.model_validate_json(Path(source).read_text(encoding="utf-8"))
