"""Real architectures as exporters, optimisers and quantisers write them: compiled to the last step, and right.

The files of tests/data/exported are written by tools/export_small_models.py.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from engine import Engine, explain, frontend, graph, passes

pytestmark = pytest.mark.xdist_group("cores")

FOLDER = Path(__file__).resolve().parents[2] / "data" / "exported"
WORDS = 60
SHAPES = [(1, 7), (3, 16)]
TWO_LAYERS = {"embedding": 3, "layer_norm": 5, "linear": 13, "attention": 2}
CLASSIFIER = {**TWO_LAYERS, "linear": 14}
DYNAMIC = {"embedding": 3, "layer_norm": 5, "dynamic_quantized_linear": 14, "DynamicQuantizeLinear": 10}

FLOAT_MODELS: dict[str, Mapping[str, int]] = {
    "albert_sdpa_ts14": {**TWO_LAYERS, "linear": 15},
    "bert_eager_ts11": TWO_LAYERS,
    "bert_eager_ts17": CLASSIFIER,
    "bert_extended": CLASSIFIER,
    "bert_optimised": {**TWO_LAYERS, "linear": 9},
    "bert_optimised_mha": TWO_LAYERS,
    "bert_sdpa_dynamo18": {**CLASSIFIER, "layer_norm": 6},
    "bert_sdpa_dynamo23": TWO_LAYERS,
    "bert_sdpa_ts17": CLASSIFIER,
    "deberta_eager_ts17": {"embedding": 1, "layer_norm": 3, "linear": 8, "attention": 1, "MatMul": 0},
    "distilbert_sdpa_ts14": {**CLASSIFIER, "embedding": 2},
    "electra_eager_ts17": CLASSIFIER,
    "minilm_pooled_ts14": {**TWO_LAYERS, "linear": 12},
    "mobilebert_eager_ts14": {"embedding": 2, "linear": 24, "attention": 2},
    "modernbert_sdpa_dynamo18": {"embedding": 1, "layer_norm": 5, "linear": 8, "gelu": 2},
    "modernbert_eager_ts17": {"embedding": 1, "layer_norm": 6, "linear": 10, "rotary": 4, "attention": 2},
    "nomic_eager_ts17": {"embedding": 1, "layer_norm": 5, "linear": 14, "rotary": 4, "attention": 2},
    "mpnet_eager_ts14": {**TWO_LAYERS, "embedding": 2},
    "roberta_eager_ts14": {**TWO_LAYERS, "embedding": 3},
    "xlm_roberta_sdpa_dynamo20": {**TWO_LAYERS, "embedding": 3},
}
QUANTISED_MODELS: dict[str, Mapping[str, int]] = {
    "bert_dynamic": {**DYNAMIC, "attention": 2},
    "bert_dynamic_channels": {**DYNAMIC, "attention": 2},
    "bert_dynamic_extended": {**DYNAMIC, "attention": 2},
    # Weights whose zero point leaves them nine bits are multiplied in two parts.
    "bert_dynamic_unsigned": {"layer_norm": 5, "attention": 2, "DynamicQuantizeLinear": 10},
    "bert_optimised_dynamic": {"layer_norm": 5, "attention": 2, "dynamic_quantized_linear": 9},
    "bert_qdq": {"embedding": 3, "layer_norm": 5, "quantized_linear": 14},
    "bert_qdq_channels": {"embedding": 3, "layer_norm": 5, "quantized_linear": 14},
    "bert_qdq_products": {"layer_norm": 5, "quantized_linear": 14, "quantized_attention": 2},
    "bert_qdq_signed": {"embedding": 3, "layer_norm": 5, "quantized_linear": 14},
    "bert_qoperator": {"layer_norm": 5, "quantized_linear": 14},
    "bert_qoperator_signed": {"layer_norm": 5, "quantized_linear": 14},
}


@functools.cache
def session(name: str) -> onnxruntime.InferenceSession:
    """ONNX Runtime without its own fusions: what the graph spells out."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        str(FOLDER / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
    )


def feeds_of(name: str, shape: tuple[int, int], *, empty_row: bool = False) -> dict[str, np.ndarray]:
    """Random words; the last row of a batch is padded, or masked wholly."""
    rng = np.random.default_rng(shape[1])
    feeds: dict[str, np.ndarray] = {}
    for entry in session(name).get_inputs():
        if entry.name == "attention_mask":
            array = np.ones(shape, np.int64)
            if shape[0] > 1:
                array[-1, 0 if empty_row else shape[1] * 2 // 3 :] = 0
        else:
            array = rng.integers(0, 2, shape) if "type" in entry.name else rng.integers(3, WORDS, shape)
        feeds[entry.name] = array
    return feeds


def results(name: str, feeds: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Ours, of compiled steps alone, and ONNX Runtime's."""
    engine = Engine(
        FOLDER / f"{name}.onnx",
        batch_size=len(next(iter(feeds.values()))),
        input_shapes=[list(array.shape) for array in feeds.values()],
        skip_padding=False,
    )
    assert explain(engine).on_host == ()
    assert engine.fraction_of_supported_ops == 1.0
    mine = engine.run([feeds[entry] for entry in engine.input_names])
    return mine, [np.asarray(y) for y in session(name).run(None, dict(feeds))]


def test_every_file_is_under_test() -> None:
    files = {path.stem for path in FOLDER.glob("*.onnx")}
    assert files == set(FLOAT_MODELS) | set(QUANTISED_MODELS)


@pytest.mark.parametrize("name", sorted({**FLOAT_MODELS, **QUANTISED_MODELS}))
def test_operators_are_found(name: str) -> None:
    model = frontend.open_model(FOLDER / f"{name}.onnx")
    shapes = {key: array.shape for key, array in feeds_of(name, (2, 12)).items()}
    found = graph.census(passes.run(frontend.bind(model, shapes), check=True))
    wanted = {**FLOAT_MODELS, **QUANTISED_MODELS}[name]
    assert {op: found[op] for op in wanted} == Counter(wanted)
    assert found["foreign"] == 0


@pytest.mark.parametrize("name", sorted(FLOAT_MODELS))
@pytest.mark.parametrize("shape", SHAPES)
def test_float_models_equal_onnxruntime(name: str, shape: tuple[int, int]) -> None:
    for mine, theirs in zip(*results(name, feeds_of(name, shape)), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["bert_eager_ts11", "bert_optimised", "bert_sdpa_ts17", "bert_sdpa_dynamo23"]
)
def test_a_wholly_masked_row_gives_what_the_graph_gives(name: str) -> None:
    for mine, theirs in zip(*results(name, feeds_of(name, (2, 9), empty_row=True)), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize("name", sorted(QUANTISED_MODELS))
@pytest.mark.parametrize("shape", SHAPES)
def test_quantised_models_follow_onnxruntime(name: str, shape: tuple[int, int]) -> None:
    """Sums are exact; a rounding falls the other way only where an f32 value is a last bit off."""
    for mine, theirs in zip(*results(name, feeds_of(name, shape)), strict=True):
        spread = float(np.std(theirs)) + 1e-6
        assert np.sqrt(np.mean((mine - theirs) ** 2)) <= 0.02 * spread
        assert np.abs(mine - theirs).max() <= 0.2 * spread
