"""Whole transformers, as exporters and quantisers write them, come out in the normal form that lowering takes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from reference.onnx_builder import run_peer

from engine import frontend, graph, passes

LAYERS, WIDTH, INNER, HEADS = 2, 48, 96, 3
NORMAL = {
    "attention",
    "quantized_attention",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "quantize",
    "quantized_linear",
    "centre",
}
BESIDE = {"Cast", "Gather", "Mul", "Reshape", "Slice", "Sub"}

NAMES = [
    "tiny-dense-f32",
    "tiny-p90-f32-lnop",
    "tiny-dense-f32-seqcls",
    "tiny-dense-qdq",
    "tiny-p90-qdq-lnop",
    "tiny-p90-qdq-seqcls",
    "tiny-dense-qdq-pc",
    "tiny-dense-qdq-fqw",
    "tiny-dense-qdq-pc-fqw",
    "tiny-dense-qdq-qbias-seqcls",
    "tiny-p90-int",
    "tiny-p90b4-int",
    "tiny-p90-int-s8",
    "tiny-p90-int-lnop-seqcls",
]


@pytest.fixture(scope="module")
def writer(shared: Path) -> ModuleType:
    """The program that writes benchmark models, with a tiny transformer added."""
    spec = importlib.util.spec_from_file_location("make_models", shared / "bench" / "make_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_models"] = module
    spec.loader.exec_module(module)
    module.ARCH["tiny"] = (lambda g: module.transformer(g, LAYERS, WIDTH, INNER, HEADS), 0)
    return module


def both(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> tuple[graph.Graph, graph.Graph]:
    model = frontend.open_model(proto)
    before = frontend.bind(model, {name: array.shape for name, array in feeds.items()})
    graph.verify(before)
    return before, passes.run(before, check=True)


def assert_normal(after: graph.Graph, layers: int, linears: int) -> None:
    census = graph.census(after)
    assert set(census) <= NORMAL | BESIDE, graph.show(after)
    assert census["attention"] + census["quantized_attention"] == layers
    assert census["layer_norm"] == 2 * layers + 1
    assert census["embedding"] == 3
    assert census["linear"] + census["quantized_linear"] == linears
    assert census["gelu"] == census["centre"] == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (2, 7)])
def test_transformer_comes_out_in_normal_form(writer: Any, name: str, batch: int, length: int) -> None:
    proto = writer.build(name)
    feeds = writer.feeds(proto, batch, 5, seq=length)
    before, after = both(proto, feeds)
    head = 2 if "seqcls" in name else 1
    assert_normal(after, LAYERS, 6 * LAYERS + head)
    if "f32" not in name:
        assert graph.census(after)["quantized_linear"] >= 6 * LAYERS
    peers = run_peer(proto, feeds)
    # Quantised by dequantising, a graph rounds what f32 sums give; a different order of the sum may cross a tie.
    bound = 1e-3 if "f32" in name else 0.25
    for one, two, peer in zip(
        graph.evaluate(before, feeds), graph.evaluate(after, feeds), peers, strict=True
    ):
        assert np.abs(one - two).max() <= (1e-5 if "int" in name else bound)
        assert np.abs(two - peer).max() <= bound


def test_sentiment_model_comes_out_in_normal_form(shared: Path) -> None:
    path = shared / "models" / "sentiment-minilm-l3-pruned80-int8" / "model.onnx"
    proto = onnx.load(path)
    rng = np.random.default_rng(2)
    mask = np.ones((2, 9), np.int64)
    mask[1, 6:] = 0
    feeds = {
        "input_ids": rng.integers(0, 20000, (2, 9)),
        "attention_mask": mask,
        "token_type_ids": np.zeros((2, 9), np.int64),
    }
    before, after = both(proto, feeds)
    assert_normal(after, 3, 20)
    assert graph.census(after)["linear"] == 0
    one, two = graph.evaluate(before, feeds)[0], graph.evaluate(after, feeds)[0]
    scale = 0.028444547
    assert np.abs(one - two).max() <= 4 * scale
    assert np.abs(two - run_peer(proto, feeds)[0]).max() <= 4 * scale


def test_every_step_of_the_passes_is_recorded(writer: Any) -> None:
    proto = writer.build("tiny-dense-f32")
    feeds = writer.feeds(proto, 1, 5, seq=3)
    before = frontend.bind(frontend.open_model(proto), {name: array.shape for name, array in feeds.items()})
    record: graph.Record = []
    passes.run(before, record)
    rules = [rule for rule, _ in record]
    assert rules.count("find_attention") == LAYERS
    assert rules.count("find_gelu") == LAYERS


def test_weights_are_shared_between_shapes(writer: Any) -> None:
    model = frontend.open_model(writer.build("tiny-p90-qdq"))

    def weights(batch: int, length: int) -> list[int]:
        shapes = dict.fromkeys(model.input_names, (batch, length))
        nodes = passes.run(frontend.bind(model, shapes)).nodes()
        found = [node.inputs[1] for node in nodes if node.op in ("linear", "quantized_linear", "embedding")]
        return sorted(id(value.array) for value in found if value is not None)

    assert weights(1, 4) == weights(3, 9)
