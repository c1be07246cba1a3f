"""Drawing: boxes where they belong, masks as a tint, and the command over files and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_engine import image_engine
from PIL import Image

from pipelines import ENGINES
from pipelines.annotate import annotate, main

ROWS = np.array([[80, 80, 80, 40, 0.9, 0.9, 0.1, *[0.0] * 8]] * 20, dtype=np.float32)


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "engine", image_engine((3, 160, 160), ROWS))


def test_a_box_is_drawn_at_its_pixels_and_nowhere_else() -> None:
    grey = np.full((200, 300, 3), 128, np.uint8)
    drawn = np.asarray(annotate(grey, [[100, 80, 200, 160]], ["Coat"], [0.9]))
    changed = (drawn != 128).any(axis=-1)
    assert changed[160, 100:201].all()
    assert changed[80:161, 100].all()
    assert not changed[162:].any()
    assert not changed[90:155, 110:190].any()
    assert (grey == 128).all()


def test_masks_tint_their_pixels() -> None:
    mask = np.zeros((1, 50, 50), np.uint8)
    mask[0, 30:40, 30:40] = 1
    drawn = np.asarray(annotate(np.zeros((50, 50, 3), np.uint8), [[1, 28, 3, 30]], ["a"], [0.5], mask))
    assert (drawn[31:39, 31:39].sum(axis=-1) > 0).all()
    assert not drawn[41:, 41:].any()


def test_a_folder_is_drawn_into_another(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    for name in ("one.png", "deeper/two.jpg", "deeper/one.png"):
        Image.fromarray(np.full((160, 160, 3), 90, np.uint8)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    model = _model(tmp_path)
    out = tmp_path / "out"
    assert main([str(tmp_path / "in"), "--model-path", str(model), "--save-dir", str(out)]) == 0
    assert sorted(file.name for file in out.iterdir()) == ["one-2.png", "one.png", "two.png"]
    assert capsys.readouterr().out.count("1 found") == 3
    drawn = np.asarray(Image.open(out / "one.png"))
    assert (drawn[60, 45:115] != 90).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png"], "neither an image"),
        (["x.png", "--task", "sentiment-analysis"], "does not answer with boxes"),
        (["x.png", "--conf-thres", "much"], "invalid float value"),
        ([], "required: source"),
    ],
)
def test_the_command_says_what_is_wrong(
    tmp_path: Path, capsys: Any, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stand_in_engine import StandInEngine

    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("x.png")
    if "sentiment-analysis" in arguments:
        monkeypatch.setitem(ENGINES, "engine", StandInEngine)
    else:
        arguments = [*arguments, "--model-path", str(_model(tmp_path))]
    assert main([*arguments, "--save-dir", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_a_label_at_the_edge_stays_in_the_image() -> None:
    drawn = np.asarray(annotate(np.full((60, 100, 3), 128, np.uint8), [[90, 2, 99, 50]], ["Trouser"], [0.9]))
    assert (drawn[2:10, :80] != 128).any()


def _model(folder: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper

    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 160, 160]) for name in ("images", "y")
    ]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["y"])], "images", values[:1], values[1:]
    )
    file = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))
    return file
