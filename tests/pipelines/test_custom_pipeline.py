"""A task of one's own: a subclass with two schemas and two methods, known to `create` by its name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import BaseModel

from engine import OptionError
from pipelines import ENGINES, EngineArguments, Pipeline, find_task


class Doubling:
    """An engine that doubles, two rows a call."""

    input_names = ("x",)
    input_shapes = ((2, 1),)
    batch_size = 2

    def __init__(self, arguments: EngineArguments) -> None:
        self.arguments = arguments

    def run(self, inp: list[NDArray[Any]]) -> list[NDArray[Any]]:
        assert inp[0].shape == (2, 1)
        return [2 * inp[0]]


class Numbers(BaseModel):
    """A request."""

    numbers: list[float]


class Answer(BaseModel):
    """What comes of it."""

    doubled: list[float]
    unit: str


class DoublePipeline(Pipeline):
    """Doubles numbers."""

    def __init__(self, model_path: str | Path | None = None, *, unit: str = "m", **arguments: Any) -> None:
        self.unit = unit
        super().__init__(model_path, **arguments)

    @property
    def input_schema(self) -> type[Numbers]:
        return Numbers

    @property
    def output_schema(self) -> type[Answer]:
        return Answer

    def process_inputs(self, inputs: Numbers) -> tuple[list[NDArray[Any]], dict[str, Any]]:
        return [np.array(inputs.numbers, np.float32).reshape(-1, 1)], {"unit": self.unit}

    def process_engine_outputs(self, engine_outputs: list[NDArray[Any]], **context: Any) -> Answer:
        return Answer(doubled=engine_outputs[0][:, 0].tolist(), **context)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    find_task("glue")
    from pipelines import registry

    monkeypatch.setattr(registry, "_TASKS", dict(registry._TASKS))
    monkeypatch.setitem(ENGINES, "engine", Doubling)
    Pipeline.register("double-it", default_model_path=str(tmp_path))(DoublePipeline)
    (tmp_path / "model.onnx").write_bytes(b"")
    return str(tmp_path)


def test_a_registered_pipeline_is_created_and_called_by_name(model: str) -> None:
    double = Pipeline.create(task="double_it", model_path=model, unit="s")
    assert double(numbers=[1, 2, 3]) == Answer(doubled=[2, 4, 6], unit="s")
    assert double(Numbers(numbers=[4])) == Answer(doubled=[8], unit="s")


def test_its_own_arguments_survive_a_config(model: str) -> None:
    config = Pipeline.create("double-it", model, unit="kg").to_config()
    assert (config.model_path, config.kwargs) == (model, {"unit": "kg"})
    assert Pipeline.from_config(config.model_dump_json())(numbers=[1]).unit == "kg"


def test_its_default_model_is_taken(model: str) -> None:
    assert Pipeline.create("double-it").model_path == model


def test_its_own_keywords_are_offered_for_wrong_ones(model: str) -> None:
    with pytest.raises(TypeError, match='"units"; did you mean "unit"'):
        Pipeline.create("double-it", model, units="s")


@pytest.mark.parametrize("call", [("a",), (1, 2)])
def test_positional_input_is_a_schema_object_only(model: str, call: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="takes one Numbers or its fields as keywords: numbers"):
        Pipeline.create("double-it", model)(*call)


def test_a_logger_is_refused_with_what_to_use() -> None:

    with pytest.raises(OptionError, match="timer_manager"):
        Pipeline.create("sentiment-analysis", logger=logging.getLogger("mine"))
