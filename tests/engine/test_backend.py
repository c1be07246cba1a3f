"""The standard's backend interface, shown on a slice of the standard's own node tests."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest

from engine import InputError, OptionError, backend

NODES = (
    *("test_add", "test_add_bcast", "test_relu", "test_matmul_2d", "test_matmul_3d", "test_softmax_axis_2"),
    *(
        "test_layer_normalization_2d_axis1",
        "test_gelu_default_1",
        "test_gemm_all_attributes",
        "test_transpose_default",
    ),
    *(
        "test_quantizelinear",
        "test_dequantizelinear",
        "test_matmulinteger",
        "test_gather_0",
        "test_concat_2d_axis_0",
    ),
    *(
        "test_reduce_mean_default_axes_keepdims_example",
        "test_slice",
        "test_where_example",
        "test_maxpool_2d_default",
    ),
)


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    """The standard's own node tests, which the onnx package makes when they are imported."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case for case in load_model_tests(kind="node") if case.name in NODES}


@pytest.mark.parametrize("name", NODES)
def test_a_node_test_of_the_standard_passes(name: str, cases: dict[str, Any]) -> None:
    if name not in cases:
        pytest.skip(f"the installed onnx has no {name}")
    for inputs, outputs in cases[name].data_sets:
        found = backend.run_model(cases[name].model, inputs)
        for mine, expected in zip(found, outputs, strict=True):
            assert mine.dtype == expected.dtype
            np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-5)


def test_a_node_runs_alone_and_by_names() -> None:
    node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    a, b = np.ones((2, 3), np.float32), np.full((2, 3), 2, np.float32)
    assert np.array_equal(backend.run_node(node, [a, b])[0], a + b)
    node = onnx.helper.make_node("ArgMax", ["a"], ["i"], axis=1, keepdims=0)
    assert backend.run_node(node, [a], outputs_info=[(np.int64, (2,))])[0].tolist() == [0, 0]


def test_only_the_cpu_is_served() -> None:
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA:0")
    node = onnx.helper.make_node("Relu", ["a"], ["b"])
    with pytest.raises(OptionError, match="CUDA"):
        backend.run_node(node, [np.ones(2, np.float32)], device="CUDA")
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [onnx.helper.make_tensor_value_info("a", 1, [2])],
        [onnx.helper.make_tensor_value_info("b", 1, [2])],
    )
    ready = backend.prepare(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]))
    assert ready.run({"a": np.ones(2, np.float32)})[0].tolist() == [1, 1]
    with pytest.raises(InputError):
        ready.run({"x": np.ones(2, np.float32)})
