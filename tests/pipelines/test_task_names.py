"""Task names: every spelling finds its task, wrong ones are answered with the known and the nearest."""

from __future__ import annotations

from typing import Any

import pytest
from numpy.typing import NDArray
from pydantic import BaseModel

from engine import OptionError
from pipelines import Pipeline, find_task
from pipelines.registry import _TASKS


class Nothing(BaseModel):
    """A schema without fields."""


class Incomplete(Pipeline):
    """A task that does not say how to answer."""

    @property
    def input_schema(self) -> type[BaseModel]:
        return Nothing

    @property
    def output_schema(self) -> type[BaseModel]:
        return Nothing

    def process_inputs(self, inputs: Any) -> list[NDArray[Any]]:
        raise NotImplementedError


class Plain(Incomplete):
    """The least a task has to say."""

    def process_engine_outputs(self, engine_outputs: list[NDArray[Any]], **context: Any) -> BaseModel:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _restore_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    find_task("text_classification")
    monkeypatch.setattr("pipelines.registry._TASKS", dict(_TASKS))


@pytest.mark.parametrize(
    "name",
    [
        "text-classification",
        "text_classification",
        "Text Classification",
        "sentiment-analysis",
        "sentiment_analysis",
        "SENTIMENT_ANALYSIS",
        "glue",
        " glue ",
    ],
)
def test_every_spelling_and_alias_finds_the_task(name: str) -> None:
    assert find_task(name).name == "text_classification"


@pytest.mark.parametrize("name", ["sentimentanalysis", "text_clasification", "", "vision"])
def test_an_unknown_task_lists_the_known_ones(name: str) -> None:
    with pytest.raises(OptionError, match=r"glue, .*sentiment_analysis, text_classification"):
        Pipeline.create(task=name)


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(ValueError, match='did you mean "sentiment_analysis"'):
        find_task("sentiment-analisys")


@pytest.mark.parametrize("name", ["text-generation", "chat", "clip_text"])
def test_a_task_that_is_left_out_says_so(name: str) -> None:
    with pytest.raises(NotImplementedError, match="not served"):
        find_task(name)


ALIASES = {
    "text_classification": ["glue", "sentiment_analysis"],
    "token_classification": ["ner"],
    "question_answering": ["qa"],
    "image_classification": [],
    "object_detection": ["yolo", "yolov5", "yolov8"],
}


@pytest.mark.parametrize("task", ALIASES)
def test_the_five_tasks_have_their_names_and_an_embedded_model(task: str) -> None:
    row = find_task(task)
    assert row.default_model_path is not None
    assert row.default_model_path.startswith("embedded:")
    for name in [task, *ALIASES[task]]:
        assert find_task(name) is find_task(name.replace("_", "-")) is row


def test_every_built_in_task_is_listed_once() -> None:
    names = [task.name for task in Pipeline.tasks()]
    assert names == sorted(set(names))
    assert "text_classification" in names


def test_a_registered_task_is_found_by_all_its_names() -> None:
    registered = Pipeline.register("my-custom-task", ["Mine Too"], "some/model.onnx")(Plain)
    assert registered is Plain
    assert find_task("my_custom_task").pipeline is Plain
    assert find_task("mine-too").pipeline is Plain
    assert (Plain.task, Plain.task_aliases) == ("my_custom_task", ("mine_too",))
    assert Plain.default_model_path == "some/model.onnx"
    Pipeline.register("my-custom-task")(Plain)


def test_a_name_belongs_to_one_class() -> None:
    with pytest.raises(RuntimeError, match="TextClassificationPipeline"):
        Pipeline.register("mine", ["glue"])(Plain)
    with pytest.raises(OptionError):
        find_task("mine")


def test_only_pipelines_can_be_registered() -> None:
    decorate: Any = Pipeline.register("mine")
    with pytest.raises(RuntimeError, match="subclasses of Pipeline"):
        decorate(int)


def test_a_module_without_a_task_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.registry import _find_built_in
    from pipelines.tasks import text_classification

    monkeypatch.setattr(text_classification, "TASK", None)
    with pytest.raises(TypeError, match=r"text_classification\.py has no constant TASK"):
        _find_built_in.__wrapped__()


def test_a_class_that_misses_a_method_cannot_be_made() -> None:
    incomplete: Any = Incomplete
    with pytest.raises(TypeError, match="process_engine_outputs"):
        incomplete("model.onnx")


def test_a_task_without_a_model_asks_for_one() -> None:
    Pipeline.register("modelless")(Plain)
    with pytest.raises(ValueError, match="No model_path provided"):
        Pipeline.create("modelless")
