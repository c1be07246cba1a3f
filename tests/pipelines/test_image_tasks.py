"""Image tasks over stand-in models: forms of requests and answers, class names, boxes and masks in the image's pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from image_engine import image_engine
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from engine import ModelError, OptionError
from pipelines import ENGINES, Pipeline

Array = NDArray[Any]
RNG = np.random.default_rng(2)
WIDE = RNG.integers(0, 256, (40, 80, 3), dtype=np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> Any:
    """A file whose only use is to say what images it takes; the engine is a stand-in."""

    def make(shape: tuple[Any, ...], dtype: int = TensorProto.FLOAT, **files: Any) -> Path:
        graph = helper.make_graph(
            [helper.make_node("Identity", ["images"], ["output"])],
            "images",
            [helper.make_tensor_value_info("images", dtype, ["batch", *shape])],
            [helper.make_tensor_value_info("output", dtype, ["batch", *shape])],
        )
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(tmp_path / "model.onnx"))
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        return tmp_path

    return make


def _use(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], *outputs: Any) -> None:
    monkeypatch.setitem(ENGINES, "engine", image_engine(shape, *(np.asarray(o, np.float32) for o in outputs)))


# ---------------------------------------------------------------- classification


def test_one_image_gives_flat_lists_and_several_nested_ones(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(monkeypatch, (3, 32, 32), [0.1, 3.0, 2.0])
    classify: Any = Pipeline.create("image-classification", model((3, 32, 32)), top_k=2)
    assert classify(WIDE).model_dump() == {"labels": [1, 2], "scores": [3.0, 2.0]}
    assert classify([WIDE, WIDE]).labels == [[1, 2], [1, 2]]
    assert classify([WIDE]).labels == [1, 2]
    assert classify([]).labels == []
    assert classify(images=WIDE.tolist()).labels == [1, 2]
    assert classify(WIDE, WIDE, WIDE).labels == [[1, 2]] * 3


def test_scores_are_probabilities_where_a_config_stands_beside_the_model(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(monkeypatch, (3, 32, 32), [0.0, 0.0])
    folder = model((3, 32, 32), config={"id2label": {"0": "cat", "1": "dog"}})
    assert Pipeline.create("image-classification", folder)(WIDE).model_dump() == {
        "labels": ["cat"],
        "scores": [0.5],
    }
    assert Pipeline.create("image-classification", folder, probabilities=False)(WIDE).scores == [0.0]


def test_an_array_of_four_axes_is_a_prepared_batch(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, (3, 8, 8), [1.0, 0.0])
    classify: Any = Pipeline.create("image-classification", model((3, 8, 8)), batch_size=2)
    floats = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
    classify(floats)
    np.testing.assert_array_equal(classify.engine.calls[-1], floats)
    classify(np.full((2, 3, 8, 8), 255, np.uint8))
    expected = (1 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(classify.engine.calls[-1][1, :, 3, 3], expected, atol=1e-5)


@pytest.mark.parametrize("form", ["list", "dictionary", "file", "coco"])
def test_class_names_come_in_four_forms(
    model: Any, monkeypatch: pytest.MonkeyPatch, form: str, tmp_path: Path
) -> None:
    _use(monkeypatch, (3, 8, 8), [0.0, 1.0])
    file = tmp_path / "names.json"
    file.write_text('{"0": "person", "1": "bicycle"}', encoding="utf-8")
    forms: dict[str, Any] = {
        "list": ["person", "bicycle"],
        "dictionary": {"0": "person", 1: "bicycle"},
        "file": file,
        "coco": "coco",
    }
    classify = Pipeline.create("image-classification", model((3, 8, 8)), class_names=forms[form])
    assert classify(WIDE).labels == ["bicycle"]


@pytest.mark.parametrize(
    "bad", [{"top_k": 0}, {"class_names": "voc"}, {"class_names": 3}, {"image_size": "large"}]
)
def test_arguments_out_of_range_are_refused(
    model: Any, monkeypatch: pytest.MonkeyPatch, bad: dict[str, Any]
) -> None:
    _use(monkeypatch, (3, 8, 8), [0.0, 1.0])
    with pytest.raises(ValueError, match=next(iter(bad))):
        Pipeline.create("image-classification", model((3, 8, 8)), **bad)


def test_a_model_of_any_size_asks_for_one(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, (3, -1, -1), [0.0, 1.0])
    folder = model((3, "height", "width"))
    with pytest.raises(OptionError, match="image_size"):
        Pipeline.create("image-classification", folder)
    classify: Any = Pipeline.create("image-classification", folder, image_size=(16, 24))
    classify(WIDE)
    assert classify.engine.calls[-1].shape == (1, 3, 16, 24)


def test_files_make_a_request(model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _use(monkeypatch, (3, 8, 8), [0.0, 1.0])
    classify = Pipeline.create("image-classification", model((3, 8, 8)))
    Image.fromarray(WIDE).save(tmp_path / "wide.png")
    with (tmp_path / "wide.png").open("rb") as opened:
        request: Any = classify.input_schema
        assert classify(request.from_files([opened, tmp_path / "wide.png"])).labels == [[1], [1]]


# ---------------------------------------------------------------- detection


ROWS = np.array([
    [16, 16, 16, 16, 0.9, 0.8, 0.1],
    [17, 16, 16, 16, 0.9, 0.7, 0.1],
    [48, 32, 8, 16, 0.8, 0.1, 0.9],
    [30, 50, 8, 8, 0.2, 0.9, 0.9],
])  # fmt: skip


def test_boxes_are_in_the_images_own_pixels(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, (3, 64, 64), np.tile(ROWS, (4, 1)))
    find: Any = Pipeline.create("object-detection", model((3, 64, 64)), class_names=["a", "b"])
    found = find(WIDE)
    assert found.labels == [["a", "b"]]
    np.testing.assert_allclose(found.scores, [[0.72, 0.72]], atol=1e-6)
    # 80 x 40 pixels became 64 x 64.
    np.testing.assert_allclose(found.boxes, [[[10, 5, 30, 15], [55, 15, 65, 25]]], atol=1e-4)
    assert found[0].labels == ["a", "b"]
    assert [image.boxes for image in found] == found.boxes
    assert find([WIDE, WIDE]).boxes == found.boxes * 2


def test_a_letterbox_keeps_proportions_and_gives_the_same_places(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a frame, 80 x 40 pixels are 64 x 32 with 16 rows of grey above and below.
    _use(monkeypatch, (3, 64, 64), np.tile([[32, 32, 32, 16, 0.9, 0.9, 0.0]], (10, 1)))
    find: Any = Pipeline.create("yolov5", model((3, 64, 64)), letterbox=True)
    found = find(WIDE)
    np.testing.assert_allclose(found.boxes, [[[20, 10, 60, 30]]], atol=1e-4)
    assert found.labels == [[0.0]]
    row = find.engine.calls[-1][0]
    np.testing.assert_allclose(row[:, [0, 15, 48, 63]], 114 / 255, atol=1e-6)
    plain = np.asarray(Image.fromarray(WIDE).resize((64, 32), 2)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(row[:, 16:48], plain, atol=1e-6)


@pytest.mark.parametrize(("dtype", "scale"), [(TensorProto.FLOAT, 255.0), (TensorProto.UINT8, 1.0)])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_images_are_scaled_for_floats_alone(
    model: Any, monkeypatch: pytest.MonkeyPatch, dtype: int, scale: float, order: str
) -> None:
    _use(monkeypatch, (3, 64, 64), np.tile(ROWS, (4, 1)))
    find: Any = Pipeline.create("yolo", model((3, 64, 64), dtype), channel_order=order)
    find(WIDE)
    expected = np.asarray(Image.fromarray(WIDE).resize((64, 64), 2)).transpose(2, 0, 1)
    expected = expected[::-1] if order == "bgr" else expected
    np.testing.assert_allclose(find.engine.calls[-1][0], expected / scale, atol=1e-6)


def test_the_anchorless_form_is_recognised(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    turned = np.delete(np.tile(ROWS, (4, 1)), 4, axis=1).T
    _use(monkeypatch, (3, 64, 64), turned)
    find: Any = Pipeline.create("yolov8", model((3, 64, 64)))
    assert (
        find(WIDE, conf_thres=0.75).labels == [[0.0, 1.0, 1.0]]
        or len(find(WIDE, conf_thres=0.75).boxes[0]) == 3
    )


def test_limits_are_checked(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, (3, 64, 64), np.tile(ROWS, (4, 1)))
    find: Any = Pipeline.create("yolo", model((3, 64, 64)))
    with pytest.raises(ValueError, match="conf_thres"):
        find(WIDE, conf_thres=1.5)
    assert find(WIDE, conf_thres=0.99).boxes == [[]]
    assert find([]).boxes == []
    with pytest.raises(OptionError, match="subtask"):
        Pipeline.create("yolo", model((3, 64, 64)), subtask="poses")
    with pytest.raises(OptionError, match="anchors"):
        Pipeline.create("yolo", model((3, 64, 64)), model_config={"anchors": 3})


def test_masks_are_prototypes_cut_to_their_boxes(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array([[32, 32, 32, 32, 0.9, 1.0, 0.0], [8, 8, 8, 8, 0.8, 0.0, 1.0]])
    left, right = np.zeros((2, 16, 16))
    prototypes = np.stack([left + 5, right - 5])
    prototypes[0, :, 8:] = -5
    _use(monkeypatch, (3, 64, 64), np.tile(rows, (8, 1)).T, prototypes)
    find: Any = Pipeline.create("yolov8", model((3, 64, 64)), subtask="segmentation")
    found = find(np.zeros((64, 64, 3), np.uint8))
    assert found.boxes == [[[16, 16, 48, 48], [4, 4, 12, 12]]]
    mask = found.masks[0][0]
    assert mask.shape == (64, 64)
    assert mask[20:44, 20:28].all()
    assert not mask[:, 36:].any()
    assert not mask[:12].any()
    assert not found.masks[0][1].any()
    assert find(np.zeros((64, 64, 3), np.uint8), return_masks=False).masks is None
    assert json.loads(found.model_dump_json())["masks"][0][0][30][24] == 1
    _use(monkeypatch, (3, 64, 64), np.tile(rows, (8, 1)).T)
    with pytest.raises(ModelError, match="second output"):
        Pipeline.create("yolov8", model((3, 64, 64)), subtask="segmentation")(WIDE)


# ---------------------------------------------------------------- segmentation


def test_every_pixel_has_its_class(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.zeros((3, 4, 4))
    scores[1, :, 2:] = 1.0
    scores[0, :, :2] = 1.0
    _use(monkeypatch, (3, 16, 16), scores)
    paint: Any = Pipeline.create("image-segmentation", model((3, 16, 16)), class_names=["sky", "sea", "land"])
    found = paint([WIDE, WIDE[:20]])
    assert [mask.shape for mask in found.masks] == [(40, 80), (20, 80)]
    assert (found.masks[0][:, :40] == 0).all()
    assert (found.masks[0][:, 40:] == 1).all()
    assert found.labels == [{0: "sky", 1: "sea"}] * 2
    np.testing.assert_allclose(
        paint.engine.calls[0][0].transpose(1, 2, 0),
        (np.asarray(Image.fromarray(WIDE).resize((16, 16), 2)) / 255 - (0.485, 0.456, 0.406))
        / (0.229, 0.224, 0.225),
        atol=1e-5,
    )


def test_yolact_reads_its_outputs_by_their_shapes(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = np.array([[0.25, 0.25, 0.75, 0.75], [0.26, 0.25, 0.75, 0.75], [0.0, 0.0, 0.25, 0.25]])
    scores = np.array([[0.1, 0.9, 0.0], [0.1, 0.8, 0.0], [0.1, 0.0, 0.7]])
    coefficients = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    _use(monkeypatch, (3, 32, 32), boxes, scores, coefficients, np.full((8, 8, 2), 4.0))
    find: Any = Pipeline.create("yolact", model((3, 32, 32)), class_names=["cup", "cat"])
    found = find(WIDE)
    assert found.classes == [["cup", "cat"]]
    np.testing.assert_allclose(found.boxes, [[[20, 10, 60, 30], [0, 0, 20, 10]]], atol=1e-4)
    assert found.masks[0][0][12:28, 24:56].all()
    assert not found.masks[0][0][:, :16].any()
    assert not found.masks[0][1].any()
    assert find(WIDE, return_masks=False, score_threshold=0.75).classes == [["cup"]]
