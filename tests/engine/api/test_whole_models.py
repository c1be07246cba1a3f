"""Whole encoders in every form, compiled to the last step, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from reference.onnx_builder import ModelBuilder

from engine import Engine, explain
from engine.jit import active_level
from engine.utils import model_to_path

pytestmark = pytest.mark.xdist_group("cores")

FLOAT_FORMS = [
    "synthetic:minilm-l6?layers=2",
    "synthetic:minilm-l6?layers=2&sparsity=0.9",
    "synthetic:minilm-l6?layers=1&lnop=1",
    "synthetic:bert-base?layers=1&seqcls=1",
]
INTEGER_FORMS = [
    "synthetic:minilm-l6?layers=1&form=qdq",
    "synthetic:minilm-l6?layers=1&form=qdq&pc=1",
    "synthetic:minilm-l6?layers=1&form=qdq&fqw=1",
    "synthetic:minilm-l6?layers=1&form=int&sparsity=0.8",
    "synthetic:minilm-l6?layers=1&form=int&sparsity=0.8&block=4",
    "synthetic:minilm-l6?layers=1&form=int&s8=1",
    "synthetic:bert-base?layers=1&form=int&seqcls=1",
]
SHAPES = [(1, 128), (2, 50), (3, 16), (1, 1), (5, 33)]


def inputs_of(engine: Engine, batch: int) -> list[np.ndarray]:
    inputs = engine.generate_random_inputs(seed=batch)
    if batch > 1:
        inputs[1][-1, inputs[1].shape[1] * 2 // 3 :] = 0
    return inputs


def reference(model: str, engine: Engine, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """ONNX Runtime without its own fusions: what the graph spells out."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model_to_path(model), options, providers=["CPUExecutionProvider"])
    feeds = dict(zip(engine.input_names, inputs, strict=True))
    return [np.asarray(y) for y in session.run(None, feeds)]


def check_plan(engine: Engine) -> None:
    explanation = explain(engine)
    assert explanation.on_host == ()
    assert engine.fraction_of_supported_ops == 1.0


@pytest.mark.parametrize("model", FLOAT_FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_float_forms_equal_onnxruntime(model: str, shape: tuple[int, int]) -> None:
    engine = Engine(model, batch_size=shape[0], input_shapes=[list(shape)], skip_padding=False)
    check_plan(engine)
    inputs = inputs_of(engine, shape[0])
    for mine, theirs in zip(engine.run(inputs), reference(model, engine, inputs), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-3)


@pytest.mark.parametrize("model", INTEGER_FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_integer_forms_follow_onnxruntime(model: str, shape: tuple[int, int]) -> None:
    """Sums are exact; a rounding falls the other way only where an f32 value is a last bit off."""
    engine = Engine(model, batch_size=shape[0], input_shapes=[list(shape)], skip_padding=False)
    check_plan(engine)
    inputs = inputs_of(engine, shape[0])
    for mine, theirs in zip(engine.run(inputs), reference(model, engine, inputs), strict=True):
        spread = float(np.std(theirs)) + 1e-6
        assert np.sqrt(np.mean((mine - theirs) ** 2)) <= 0.02 * spread
        assert np.abs(mine - theirs).max() <= 0.2 * spread


@pytest.mark.parametrize("model", [FLOAT_FORMS[1], INTEGER_FORMS[0], INTEGER_FORMS[3]])
def test_results_do_not_depend_on_threads(model: str) -> None:
    one, two = (Engine(model, input_shapes=[[1, 100]], num_cores=cores) for cores in (1, 2))
    inputs = one.generate_random_inputs(seed=4)
    expected = one.run(inputs)
    for _ in range(5):
        assert all(np.array_equal(a, b) for a, b in zip(two.run(inputs), expected, strict=True))


@pytest.mark.parametrize(
    ("form", "kernel", "on_tiles"),
    [
        ("sparsity=0.9", "csr_f32", "csr_f32"),
        ("sparsity=0", "dense_f32", "amx_f32"),
        ("form=qdq&sparsity=0", "dense_int8", "amx_int8"),
        ("form=qdq&sparsity=0.9", "sparse_int8", "amx_int8_compressed"),
        ("form=int&sparsity=0.9&block=4", "block4_int8", "amx_int8_compressed"),
    ],
)
def test_kernels_are_chosen_by_form_and_sparsity(form: str, kernel: str, on_tiles: str) -> None:
    layers = explain(f"synthetic:minilm-l6?layers=1&{form}", input_shapes=[[1, 128]]).layers
    products = [layer for layer in layers if layer.op in ("linear", "quantized_linear")]
    expected = on_tiles if active_level().tiles else kernel
    assert {layer.kernel.split("__")[0] for layer in products} == {expected}
    assert len(products) == 6


def test_a_batch_gives_each_item_what_it_gets_alone() -> None:
    model = FLOAT_FORMS[0]
    whole, single = Engine(model, 3, input_shapes=[[3, 40]]), Engine(model, 1, input_shapes=[[1, 40]])
    inputs = inputs_of(whole, 3)
    together = whole.run(inputs)[0]
    for item in range(3):
        alone = single.run([np.ascontiguousarray(array[item : item + 1]) for array in inputs])[0]
        np.testing.assert_allclose(together[item : item + 1], alone, atol=1e-5)


@pytest.mark.parametrize("model", ["synthetic:mobilenet-v2?bn=1", "synthetic:yolov5s"])
def test_image_models_are_compiled_to_the_last_step(model: str) -> None:
    engine = Engine(model)
    check_plan(engine)
    inputs = engine.generate_random_inputs(seed=0)
    for mine, theirs in zip(engine.run(inputs), reference(model, engine, inputs), strict=True):
        scale = float(np.abs(theirs).max())
        np.testing.assert_allclose(mine / scale, theirs / scale, atol=1e-3)


def test_operators_without_kernels_run_on_the_host_and_say_so(tmp_path: Path) -> None:
    builder = ModelBuilder()
    x = builder.input("x", np.float32, (2, 3, 4))
    builder.output(builder.op("Relu", builder.op("LogSoftmax", builder.op("Tanh", x), axis=1)))
    path = tmp_path / "model.onnx"
    onnx.save(builder.model(), path)
    engine = Engine(str(path), 2)
    inputs = engine.generate_random_inputs(seed=0)
    for mine, theirs in zip(engine.run(inputs), reference(str(path), engine, inputs), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    explanation = explain(engine)
    assert 0 < engine.fraction_of_supported_ops < 1
    assert {layer.op for layer in explanation.on_host} == {"LogSoftmax"}
    assert all("LogSoftmax" in layer.reason for layer in explanation.on_host)
    assert "without a kernel" in str(explanation)
