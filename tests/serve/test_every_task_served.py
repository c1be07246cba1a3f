"""Every task through a server's YAML file: it loads, describes itself, and answers its own example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

import pipelines
from pipelines import Pipeline
from serve import create_app
from serve.config import read_config

MODELS = Path(pipelines.__file__).parent / "models"
SENTIMENT = str(MODELS / "sentiment-minilm-l3-pruned80-int8")
ENTITIES = str(MODELS / "ner-minilm-l6-int8")
PIXELS = np.zeros((28, 28), np.uint8).tolist()
# The sentiment model's two classes stand for contradiction and entailment.
PAIRED = {"labels": ["x", "y"], "model_config": {"contradiction_index": 0, "entailment_index": 1}}
PROCESSING = """
import numpy as np


def preprocess(inputs):
    return [np.asarray(inputs["pixels"], np.float32).reshape(1, 1, 28, 28)]


def postprocess(outputs):
    return {"best": int(outputs[0][0].argmax())}
"""
# task, further keys, request, keys of the answer; a model without a name is the task's own.
Case = tuple[str, dict[str, Any], dict[str, Any], set[str]]
CASES: list[Case] = [
    ("text-classification", {}, {"sequences": "A delight."}, {"labels", "scores"}),
    ("token-classification", {}, {"inputs": "Ada lived in London."}, {"predictions"}),
    (
        "question-answering",
        {},
        {"question": "Who is Mark?", "context": "Mark is batman."},
        {"score", "answer", "start", "end"},
    ),
    ("image-classification", {}, {"images": PIXELS}, {"labels", "scores"}),
    (
        "zero-shot-text-classification",
        {"model": SENTIMENT, "kwargs": PAIRED},
        {"sequences": "A delight."},
        {"labels", "scores", "sequences"},
    ),
    ("embedding-extraction", {"model": ENTITIES}, {"inputs": "A delight."}, {"embeddings"}),
]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("spelling", ["-", "_"])
def test_a_task_is_served_from_a_yaml(case: Case, spelling: str, tmp_path: Path) -> None:
    task, more, request, keys = case
    file = tmp_path / "server.yaml"
    file.write_text(yaml.safe_dump({"endpoints": [{"task": task.replace("-", spelling), **more}]}))
    client = create_app(read_config(file)).test_client()
    answer = client.post("/predict", json=request)
    assert answer.status_code == 200, answer.get_json()
    assert set(answer.get_json()) == keys
    named = f"/v2/models/{task.replace('-', '_')}/infer"
    assert client.post(named, json=request).get_json() == answer.get_json()
    assert named in client.get("/openapi.json").get_json()["paths"]


def _constant_answers(folder: Path, *outputs: np.ndarray) -> str:
    """A model of images [1, 3, 32, 32] with the same outputs for each, and ten class names."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
    ]
    constants, infos = [numpy_helper.from_array(np.zeros(1, np.float32), "nothing")], []
    for index, output in enumerate(outputs):
        constants.append(numpy_helper.from_array(output.astype(np.float32)[None], f"constant{index}"))
        nodes.append(helper.make_node("Add", [f"constant{index}", "zero"], [f"output{index}"]))
        shape = [1, *output.shape]
        infos.append(helper.make_tensor_value_info(f"output{index}", TensorProto.FLOAT, shape))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])
    graph = helper.make_graph(nodes, "constant", [images], infos, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    return str(folder / "model.onnx")


BOX = np.tile([[16, 16, 8, 8, 0.9, 0.9, 0.1]], (20, 1))
CORNERS, SCORES = np.array([[0.25, 0.25, 0.75, 0.75]] * 3), np.array([[0.1, 0.9, 0.0]] * 3)
IMAGE_CASES: list[tuple[str, tuple[np.ndarray, ...], set[str]]] = [
    ("object_detection", (BOX,), {"boxes", "scores", "labels", "masks", "intermediate_outputs"}),
    (
        "yolov8",
        (BOX[:, [0, 1, 2, 3, 5, 6]].T,),
        {"boxes", "scores", "labels", "masks", "intermediate_outputs"},
    ),
    ("image_segmentation", (np.ones((3, 8, 8)),), {"labels", "masks"}),
    (
        "yolact",
        (CORNERS, SCORES, np.array([[1.0, 0.0]] * 3), np.full((8, 8, 2), 4.0)),
        {"boxes", "classes", "scores", "masks"},
    ),
]


@pytest.mark.parametrize(("task", "outputs", "keys"), IMAGE_CASES, ids=[case[0] for case in IMAGE_CASES])
def test_an_image_task_is_served_from_a_yaml(
    task: str, outputs: tuple[np.ndarray, ...], keys: set[str], tmp_path: Path
) -> None:
    model = _constant_answers(tmp_path, *outputs)
    entry = {"task": task, "model": model, "kwargs": {"image_size": 32}}
    file = tmp_path / "server.yaml"
    file.write_text(yaml.safe_dump({"endpoints": [entry]}))
    client = create_app(read_config(file)).test_client()
    answer = client.post("/predict", json={"images": [np.zeros((32, 32, 3), np.uint8).tolist()]})
    assert answer.status_code == 200, answer.get_json()
    assert set(answer.get_json()) == keys


def test_a_custom_task_is_served_from_a_yaml(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(PROCESSING)
    kwargs = {"processing_file": str(tmp_path / "steps.py")}
    entry = {"task": "custom-garments", "model": str(MODELS / "garments-cnn-int8"), "kwargs": kwargs}
    file = tmp_path / "server.yaml"
    file.write_text(yaml.safe_dump({"endpoints": [entry]}))
    answer = create_app(read_config(file)).test_client().post("/predict", json={"pixels": PIXELS})
    assert answer.status_code == 200, answer.get_json()
    assert set(answer.get_json()) == {"best"}


def test_no_task_is_left_out() -> None:
    names = {case[0].replace("-", "_") for case in CASES} | {case[0] for case in IMAGE_CASES} | {"custom"}
    assert {
        task.name for task in Pipeline.tasks() if task.pipeline.__module__.startswith("pipelines.")
    } <= names
