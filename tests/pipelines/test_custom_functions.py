"""Tasks of plain functions, files with functions, and modules that are named by `import:`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from pydantic import BaseModel, ValidationError

from engine import OptionError
from pipelines import Pipeline


@pytest.fixture(autouse=True)
def _restore_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import find_task
    from pipelines.registry import _TASKS

    find_task("text_classification")
    monkeypatch.setattr("pipelines.registry._TASKS", dict(_TASKS))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = x + x, f32 [batch, 3]."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
    )
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))
    return file


class Numbers(BaseModel):
    """Three numbers."""

    numbers: list[float]


class Doubled(BaseModel):
    """Twice as much."""

    doubled: list[float]


def _before(inputs: Any) -> list[Any]:
    numbers = inputs.numbers if isinstance(inputs, Numbers) else inputs
    return [np.array([numbers], dtype=np.float32)]


def _after(outputs: list[Any]) -> Any:
    return {"doubled": outputs[0][0].tolist()}


def test_without_functions_arrays_pass_through(model: Path) -> None:
    pipeline = Pipeline.create("custom", model)
    x = np.array([[1, 2, 3]], dtype=np.float32)
    np.testing.assert_array_equal(pipeline([x])[0], 2 * x)
    np.testing.assert_array_equal(pipeline(x)[0], 2 * x)
    with pytest.raises(ValueError, match="process_inputs_fn"):
        pipeline("text")


@pytest.mark.parametrize("name", ["custom", "Custom", "custom-task", "custom_double"])
def test_functions_make_a_task(model: Path, name: str) -> None:
    pipeline = Pipeline.create(name, model, process_inputs_fn=_before, process_outputs_fn=_after)
    assert pipeline([1, 2, 3]) == {"doubled": [2, 4, 6]}


def test_schemas_are_checked_on_both_sides(model: Path) -> None:
    functions: dict[str, Any] = {"process_inputs_fn": _before, "process_outputs_fn": _after}
    pipeline = Pipeline.create("custom", model, input_schema=Numbers, output_schema=Doubled, **functions)
    assert pipeline(numbers=[1, 2, 3]) == Doubled(doubled=[2, 4, 6])
    assert pipeline(Numbers(numbers=[1, 2, 3])) == Doubled(doubled=[2, 4, 6])
    with pytest.raises(ValidationError):
        pipeline(numbers="no")
    with pytest.raises(ValueError, match="input_schema"):
        Pipeline.create("custom", model, input_schema=dict)


def test_a_file_gives_the_functions(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "processing.py"
    file.write_text(
        "import numpy\n"
        "def preprocess(inputs): return [numpy.array([inputs], numpy.float32)]\n"
        "def postprocess(outputs): return outputs[0].tolist()\n",
        encoding="utf-8",
    )
    pipeline = Pipeline.create("custom", model, processing_file=file)
    assert pipeline([1, 2, 3]) == [[2, 4, 6]]
    with pytest.raises(OptionError, match="both give"):
        Pipeline.create("custom", model, processing_file=file, process_inputs_fn=_before)
    (tmp_path / "empty.py").write_text("", encoding="utf-8")
    with pytest.raises(OptionError, match="neither"):
        Pipeline.create("custom", model, processing_file=tmp_path / "empty.py")


MODULE = """
from typing import Any
from pydantic import RootModel
import numpy
from pipelines import Pipeline

class Rows(RootModel[list[float]]):
    pass

{task}
class Tripled(Pipeline):
    input_schema = output_schema = Rows
    def process_inputs(self, inputs: Any) -> Any:
        return [numpy.array([inputs.root], numpy.float32)]
    def process_engine_outputs(self, engine_outputs: Any, **context: Any) -> Any:
        return Rows(engine_outputs[0][0].tolist())
"""


def test_an_imported_file_names_the_task_it_registers(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MODULE.format(task='TASK = "mine"\n@Pipeline.register(TASK)'), encoding="utf-8")
    pipeline = Pipeline.create(f"import:{file}", model)
    assert pipeline(root=[1, 2, 3]).root == [2, 4, 6]
    assert type(Pipeline.create("mine", model)) is type(pipeline)
    assert type(Pipeline.create(f"import:{file.with_suffix('')}", model)) is type(pipeline)


def test_an_imported_module_may_define_the_row_itself(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = MODULE.format(task="") + "\nfrom pipelines import Task\nTASK = Task('tripled', Tripled)\n"
    (tmp_path / "module_with_a_task.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert Pipeline.create("import:module_with_a_task", model)(root=[1, 2, 3]).root == [2, 4, 6]


def test_an_import_without_a_task_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nothing.py").write_text("", encoding="utf-8")
    with pytest.raises(RuntimeError, match="TASK"):
        Pipeline.create(f"import:{tmp_path / 'nothing.py'}")
    with pytest.raises(FileNotFoundError, match="missing"):
        Pipeline.create(f"import:{tmp_path / 'missing.py'}")
