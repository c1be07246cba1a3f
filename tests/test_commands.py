"""Console scripts: what they print, and that a wrong input ends with one line and code 2."""

from __future__ import annotations

import configparser
import importlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipelines
from sparselane import commands

pytestmark = pytest.mark.xdist_group("cores")
ROOT = Path(__file__).parent.parent
MODEL = str(next((Path(pipelines.__file__).parent / "models").glob("sentiment-*")))


def _scripts() -> dict[str, str]:
    """Console scripts and the functions that they lead to, as setup.cfg has them."""
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg")
    lines = read["options.entry_points"]["console_scripts"].strip().splitlines()
    return dict(line.split(" = ") for line in lines)


@pytest.mark.parametrize(("name", "place"), _scripts().items())
def test_every_script_says_by_its_own_name_how_it_is_used(
    name: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module, _, attribute = place.partition(":")
    call = getattr(importlib.import_module(module), attribute)
    assert name == f"sparselane.{attribute}"
    try:
        code = call(["--help"])
    except SystemExit as left:
        # argparse leaves the process by itself.
        code = left.code
    assert code in (0, None)
    assert capsys.readouterr().out.startswith(f"usage: {name}")


WRONG = [
    ("analyze", ["/nowhere/model.onnx"]),
    ("analyze", ["--no-such-flag", "x"]),
    ("analyze", ["embedded:singing"]),
    ("benchmark", ["embedded:singing"]),
    ("analyze", [MODEL, "-b", "few"]),
    ("analyze", [MODEL, "-i", "[1,"]),
    ("annotate", ["/nowhere/image.png"]),
    ("annotate", ["--no-such-flag", "x"]),
    ("annotate", ["--conf-thres", "much", "x"]),
    ("benchmark", ["/nowhere/model.onnx"]),
    ("benchmark", ["--no-such-flag", "x"]),
    ("benchmark", [MODEL, "-s", "sideways"]),
    ("check_hardware", ["--fast"]),
    ("debug_analysis", ["/nowhere/model.onnx"]),
    ("debug_analysis", ["--no-such-flag", "x"]),
    ("infer", []),
    ("infer", ["text", "--model_path", "/nowhere/model.onnx"]),
    ("infer", ["text", "--no-such-flag", "x"]),
    ("infer", ["text", "--task", "singing"]),
    ("infer", ["text", "--task", "text-generation"]),
    ("infer", ["who?", "--task", "qa"]),
    ("infer", ["text", "--option", "top_k"]),
    ("infer", ["text", "--option", "topk=2"]),
    ("infer", ["text", "--field", "labels=a"]),
    ("infer", ["--data", "/nowhere/texts"]),
    ("infer", ["who?", "--task", "qa", "--context", "@/nowhere/passage"]),
    ("infer", ["/nowhere/image.png", "--task", "image-classification"]),
    ("server", []),
    ("server", ["--task", "singing"]),
    ("server", ["--task", "ner", "--port", "many"]),
    ("server", ["--task", "ner", "--port", "70000"]),
    ("server", ["--config-file", "/nowhere/server.yaml"]),
    ("server", ["--no-such-flag"]),
]


@pytest.mark.parametrize(
    ("name", "arguments"), WRONG, ids=[" ".join([name, *words[-2:]])[:40] for name, words in WRONG]
)
def test_wrong_input_ends_with_one_line(
    name: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = getattr(commands, name)(arguments)
    except SystemExit as left:
        code = left.code
    assert code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1


def test_hardware_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.check_hardware([]) == 0
    shown = capsys.readouterr().out
    for words in ("CPU detected with", "FP32", "INT8", "Instruction set level", "AMX tiles", "Caches"):
        assert words in shown


def test_rates_that_cannot_be_used_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.kernels.cost import Coefficients
    from engine.machine.rates import rates_file, write_rates

    monkeypatch.setenv("ENGINE_CACHE_DIR", str(tmp_path))
    place = write_rates({"dense_f32": {16: (1.0,) * len(Coefficients._fields)}})
    assert place is not None
    assert place == rates_file()
    assert commands.check_hardware([]) == 0
    assert f"Measured rates: {place}" in capsys.readouterr().out
    place.write_text("{")
    assert commands.check_hardware([]) == 0
    assert "Measured rates: none" in capsys.readouterr().out


def test_steps_are_timed_and_analysed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "profile.json"
    given = [MODEL, "-i", "[1,16]", "-bi", "3", "-wi", "1", "-x", str(file)]
    assert commands.debug_analysis(given) == 0
    assert "== Layer Breakdown ==" in capsys.readouterr().out
    found = json.loads(file.read_text())
    assert len(found["iteration_times"]) == 3
    times = [layer["average_run_time_in_ms"] for layer in found["layer_info"]]
    assert found["sum_of_steps"] == pytest.approx(sum(times))
    assert any(layer["required_flops"] and layer["average_utilization"] for layer in found["layer_info"])
    assert commands.analyze([f"embedded:{Path(MODEL).name}", "--save", str(file)]) == 0
    assert len(json.loads(file.read_text())) >= len(times) - 5


def _answers(shown: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shown.splitlines()]


def test_texts_are_answered_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.infer(["A delight.", "A bore."]) == 0
    assert [answer["labels"] for answer in _answers(capsys.readouterr().out)] == [["positive"], ["negative"]]


def test_lines_of_standard_input_and_of_files_are_inputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("A bore.\nA delight.\n"))
    (tmp_path / "texts").write_text('{"sequences": ["A bore.", "A delight."]}\n', encoding="utf-8")
    assert commands.infer(["-", "--data", str(tmp_path / "texts"), "--option", "top_k=2"]) == 0
    found = [[row[0] for row in answer["labels"]] for answer in _answers(capsys.readouterr().out)]
    assert found == [["negative"], ["positive"], ["negative", "positive"]]


def test_questions_are_asked_of_one_passage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "passage").write_text("Mark is batman. He lives in Gotham.", encoding="utf-8")
    whole = '{"question": "Who wrote it?", "context": "Ada wrote it."}'
    given = ["Who is Mark?", "Where does he live?", whole, "--context", f"@{tmp_path / 'passage'}"]
    assert commands.infer(["--task", "question-answering", *given]) == 0
    found = _answers(capsys.readouterr().out)
    assert [answer["answer"] for answer in found] == ["batman", "Gotham", "Ada"]


IMAGE = np.zeros((28, 28), np.uint8)
PAIRED = 'model_config={"contradiction_index": 0, "entailment_index": 1}'
# task, further arguments, fields of the answer
TASKS: list[tuple[str, list[str], set[str]]] = [
    ("text-classification", ["A delight."], {"labels", "scores"}),
    ("token-classification", ["Ada", "--option", "aggregation_strategy=first"], {"predictions"}),
    ("question-answering", ["Who?", "--field", "context=Ada wrote it."], {"score", "answer", "start", "end"}),
    ("zero-shot-text-classification", ["a", "--model-path", MODEL, "--labels", "x,y", "--option", PAIRED],
     {"sequences", "labels", "scores"}),
    ("embedding-extraction", ["a", "--model-path", "embedded:ner-minilm-l6-int8"], {"embeddings"}),
    ("image-classification", ["image.png", "--option", "top_k=3"], {"labels", "scores"}),
    ("object-detection", ["image.png", "--field", "conf_thres=0.3"],
     {"boxes", "scores", "labels", "masks", "intermediate_outputs"}),
    ("image-segmentation", ["image.png", "--model-path", "pixels.onnx"], {"masks", "labels"}),
]  # fmt: skip


@pytest.mark.parametrize(("task", "given", "fields"), TASKS, ids=[row[0] for row in TASKS])
def test_every_task_is_answered(
    task: str,
    given: list[str],
    fields: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("PIL.Image").fromarray(IMAGE).save("image.png")
    _identity([1, 3, 28, 28], tmp_path / "pixels.onnx")
    assert commands.infer(["--task", task, *given]) == 0
    (answer,) = _answers(capsys.readouterr().out)
    assert set(answer) == fields


def test_a_task_between_two_functions_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _identity([1, 3], tmp_path / "model.onnx")
    steps = tmp_path / "steps.py"
    steps.write_text("import numpy as np\n\n\ndef preprocess(row):\n    return [np.float32([row])]\n")
    given = [
        "[1, 2, 3]",
        "--model-path",
        str(tmp_path / "model.onnx"),
        "--option",
        f"processing_file={steps}",
    ]
    assert commands.infer(["--task", "custom", *given]) == 0
    assert json.loads(capsys.readouterr().out) == [[[1.0, 2.0, 3.0]]]


def _identity(shape: list[int], file: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))
