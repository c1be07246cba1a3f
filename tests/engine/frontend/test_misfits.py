"""Attributes and shapes that no operator allows are refused with the node's name, never bent until they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine import Engine, frontend
from engine.errors import ModelError

F32 = np.float32
Case = tuple[str, tuple[int, ...], Sequence[np.ndarray], dict[str, Any], str]


def i64(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


IMAGE = (1, 3, 8, 8)
ROWS = (1, 3, 4)
KERNEL = np.ones((4, 3, 3, 3), F32)
CASES: dict[str, Case] = {
    "softmax": ("Softmax", ROWS, (), {"axis": 7}, "axis 7 is outside of rank 3"),
    "log softmax": ("LogSoftmax", ROWS, (), {"axis": -4}, "axis -4 is outside of rank 3"),
    "hardmax": ("Hardmax", ROWS, (), {"axis": 7}, "axis"),
    "norm": ("LpNormalization", ROWS, (), {"axis": 3}, "axis 3"),
    "concat": ("Concat", ROWS, (np.ones(ROWS, F32),), {"axis": 7}, "axis 7"),
    "gather": ("Gather", ROWS, (i64(0),), {"axis": 3}, "axis 3"),
    "gather elements": ("GatherElements", ROWS, (np.zeros(ROWS, np.int64),), {"axis": -5}, "axis -5"),
    "split": ("Split", ROWS, (), {"axis": 8}, "axis 8"),
    "parts": ("Split", ROWS, (i64(2),), {"axis": 1}, "no split of 3"),
    "slice": ("Slice", ROWS, (i64(0), i64(1), i64(5)), {}, "axis 5"),
    "sum": ("ReduceSum", ROWS, (i64(7),), {}, "axis 7"),
    "mean": ("ReduceMean", ROWS, (), {"axes": [5]}, "axis 5"),
    "largest": ("ArgMax", ROWS, (), {"axis": 4}, "axis 4"),
    "running sum": ("CumSum", ROWS, (i64(6),), {}, "rank 3"),
    "flatten": ("Flatten", ROWS, (), {"axis": 9}, "axis 9"),
    "unsqueeze": ("Unsqueeze", ROWS, (i64(9),), {}, "axis 9"),
    "unsqueeze twice": ("Unsqueeze", ROWS, (i64(0, -5),), {}, "twice"),
    "squeeze": ("Squeeze", ROWS, (i64(3),), {}, "axis 3"),
    "layer norm axis": ("LayerNormalization", ROWS, (np.ones(4, F32),), {"axis": 9}, "axis 9"),
    "layer norm gain": ("LayerNormalization", ROWS, (np.ones(5, F32),), {}, "shape"),
    "batch norm": ("BatchNormalization", IMAGE, [np.ones(4, F32)] * 4, {}, "channels"),
    "instance norm": ("InstanceNormalization", IMAGE, [np.ones(4, F32)] * 2, {}, "channels"),
    "scale": ("QuantizeLinear", ROWS, (np.ones(5, F32), np.zeros(5, np.uint8)), {"axis": 1}, "5"),
    "scale's axis": ("QuantizeLinear", ROWS, (np.ones(3, F32), np.zeros(3, np.uint8)), {"axis": 9}, "axis 9"),
    "perm": ("Transpose", ROWS, (), {"perm": [0, 1]}, "should be 3"),
    "sizes": ("Reshape", ROWS, (i64(0, 0, 0, 0),), {}, "no size"),
    "repeats": ("Tile", ROWS, (i64(1, 2),), {}, "should be 3"),
    "pads": ("Pad", ROWS, (i64(1, 1),), {}, "should be 6"),
    "padding": ("Pad", ROWS, (i64(0, 0, 0, 0, 0, 1),), {"mode": "mirror"}, "'mirror'"),
    "automatic padding": ("Conv", IMAGE, (KERNEL,), {"auto_pad": "FULL"}, "'FULL'"),
    "strides": ("Conv", IMAGE, (KERNEL,), {"strides": [0, 0]}, "at least 1"),
    "one stride": ("Conv", IMAGE, (KERNEL,), {"strides": [1]}, "should be 2"),
    "window": ("MaxPool", IMAGE, (), {"kernel_shape": [2]}, "should be 2"),
    "scales": ("Resize", IMAGE, (np.zeros(0, F32), np.ones(2, F32)), {}, "should be 4"),
    "block": ("DepthToSpace", (1, 4, 8, 8), (), {"blocksize": 0}, "positive"),
    "range": ("Range", ROWS, (np.array(0, F32), np.array(1, F32)), {}, "one number"),
}


def one_node(op: str, shape: tuple[int, ...], constants: Sequence[np.ndarray], **attrs: Any) -> bytes:
    stored = [numpy_helper.from_array(array, f"c{place}") for place, array in enumerate(constants)]
    node = helper.make_node(op, ["x", *(tensor.name for tensor in stored)], ["y"], name="it", **attrs)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)],
        stored,
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_misfits_are_refused_when_shapes_are_known(case: Case) -> None:
    op, shape, constants, attrs, text = case
    model = frontend.open_model(one_node(op, shape, constants, **attrs))
    with pytest.raises(ModelError, match=rf'node "it" \({op}\) does not fit its inputs: .*{text}') as caught:
        frontend.bind(model, {})
    assert "\n" not in str(caught.value)


def test_every_axis_there_is_may_be_counted_from_either_end() -> None:
    for axis in range(-3, 3):
        graph = frontend.bind(frontend.open_model(one_node("Softmax", ROWS, (), axis=axis)), {})
        assert [node.attrs["axis"] for node in graph.nodes() if node.op == "Softmax"] == [axis % 3]
    for axis in range(-3, 4):
        sizes = frontend.bind(frontend.open_model(one_node("Flatten", ROWS, (), axis=axis)), {}).outputs[0]
        cut = axis if axis >= 0 else axis + 3
        assert sizes.shape == (int(np.prod(ROWS[:cut])), int(np.prod(ROWS[cut:])))


@pytest.mark.parametrize(
    ("op", "shape", "attrs"),
    [("DepthToSpace", IMAGE, {"blocksize": 2}), ("Resize", IMAGE, {"mode": "wavy"})],
    ids=["block", "mode"],
)
def test_what_only_running_shows_is_refused_with_the_nodes_name(
    op: str, shape: tuple[int, ...], attrs: dict[str, Any]
) -> None:
    scales = (np.zeros(0, F32), np.array([1, 1, 2, 2], F32)) if op == "Resize" else ()
    with Engine(one_node(op, shape, scales, **attrs)) as engine:
        feeds = [np.ones(shape, F32)]
        with pytest.raises(ModelError, match=rf'node "it" \({op}\) does not fit its inputs'):
            engine.run(feeds)
