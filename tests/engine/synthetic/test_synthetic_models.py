"""Synthetic models: valid ONNX, exact sparsity, the same weights in every form, equal bytes every time."""

from __future__ import annotations

import builtins
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from engine.synthetic import open_synthetic
from engine.synthetic.build import build_model
from engine.synthetic.spec import parse
from engine.synthetic.weights import prune

SMALL = [
    "minilm-l6?layers=1",
    "minilm-l6?layers=1&lnop=1",
    "minilm-l6?layers=1&sparsity=0.8&quantized=1",
    "minilm-l6?layers=1&sparsity=0.8&quantized=1&pc=1",
    "minilm-l6?layers=1&quantized=1&fqw=1",
    "minilm-l6?layers=1&sparsity=0.8&form=int",
    "minilm-l6?layers=1&sparsity=0.8&block=4&form=int&s8=1",
    "mobilenet-v2?quantized=1&sparsity=0.6",
]
# Names in which the generator of the benchmark page and ours must agree to the byte.
SAME_AS_GENERATOR = [
    "minilm-l6-p80-int",
    "minilm-l6-dense-qdq-lnop",
    "mobilenet-v2-p80-qdq-fbias",
]
SAME_AS_GENERATOR_SLOW = [
    "bert-base-p90-qdq-seqcls-qbias",
    "bert-base-p90b4-int-s8",
    "mobilenet-v2-dense-qdq-pt-bn",
    "resnet50-p95-qdq",
    "yolov5s-p85-qdq",
]
WITHOUT_CALIBRATOR = {"onnxruntime"}


def weights(model: ModelProto) -> list[np.ndarray[Any, Any]]:
    arrays = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    return [array for array in arrays if array.ndim in (2, 4) and array.size > 10_000]


@pytest.fixture(scope="module")
def generator(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_models", shared / "bench" / "make_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def reference_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the library that the generator would calibrate by: its sums differ in the last bits."""
    plain_import = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name in WITHOUT_CALIBRATOR:
            raise ImportError(name)
        return plain_import(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)


@pytest.mark.parametrize("query", SMALL)
def test_model_passes_the_checker(query: str) -> None:
    model = build_model(parse(f"synthetic:{query}"))
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("name", SAME_AS_GENERATOR)
@pytest.mark.usefixtures("reference_calibration")
def test_bytes_are_the_generators(name: str, generator: ModuleType) -> None:
    ours = build_model(parse(f"synthetic:{name}"))
    assert ours.SerializeToString() == generator.build(name).SerializeToString()


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME_AS_GENERATOR_SLOW)
@pytest.mark.usefixtures("reference_calibration")
def test_bytes_of_large_models_are_the_generators(name: str, generator: ModuleType) -> None:
    ours = build_model(parse(f"synthetic:{name}"))
    assert ours.SerializeToString() == generator.build(name).SerializeToString()


def test_bytes_of_a_shallow_model_are_the_generators(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shallow(graph: Any) -> Any:
        return generator.transformer(graph, 1, 384, 1536, 12, head="none")

    monkeypatch.setitem(generator.ARCH, "minilm-l6", (shallow, 0))
    ours = build_model(parse("synthetic:minilm-l6?layers=1&sparsity=0.8&form=qdq"))
    theirs = generator.build("minilm-l6-p80-qdq")
    theirs.graph.name = theirs.metadata_props[1].value = "minilm-l6-p80-qdq-layers1"
    assert ours.SerializeToString() == theirs.SerializeToString()


def test_sparsity_is_exact_in_every_layer_and_tables_stay_dense() -> None:
    model = build_model(parse("synthetic:minilm-l6?layers=1&sparsity=0.8"))
    shares = {w.shape: np.mean(w == 0) for w in weights(model)}
    # A normal number is zero itself once in some ten million.
    assert max(shares.pop((30522, 384)), shares.pop((512, 384))) < 1e-6
    assert list(shares.values()) == pytest.approx([0.8] * len(shares), abs=1e-4)


def test_quantised_weights_are_the_f32_weights_on_a_grid() -> None:
    plain = build_model(parse("synthetic:minilm-l6?layers=1&sparsity=0.8"))
    quantised = build_model(parse("synthetic:minilm-l6?layers=1&sparsity=0.8&quantized=1"))
    floats = [w for w in weights(plain) if w.shape[0] < 2000 and w.shape != (512, 384)]
    integers = [w for w in weights(quantised) if w.dtype == np.int8]
    assert len(floats) == len(integers) == 6
    for w, q in zip(floats, integers, strict=True):
        scale = np.abs(w).max() / 127
        assert np.abs(q * scale - w).max() <= scale * 0.501


def test_seeds_differ() -> None:
    first, second = (build_model(parse(f"synthetic:minilm-l6?layers=1&seed={s}")) for s in (0, 1))
    assert not np.array_equal(weights(first)[0], weights(second)[0])


@pytest.mark.parametrize("axis", [0, 1])
def test_pruning_in_blocks_runs_along_the_inputs(axis: int) -> None:
    weight = np.random.default_rng(0).standard_normal((32, 48), dtype=np.float32)
    pruned = np.moveaxis(prune(weight, 0.75, 4, axis), axis, -1)
    blocks = pruned.reshape(-1, 4)
    zeros = (blocks == 0).sum(1)
    assert set(zeros.tolist()) == {0, 4}
    assert np.mean(zeros == 4) == 0.75
    assert np.square(pruned).sum() == pytest.approx(np.square(weight).sum(), rel=1e-4)


def test_small_magnitudes_go_first() -> None:
    weight = np.random.default_rng(0).standard_normal((40, 50), dtype=np.float32)
    pruned = prune(weight, 0.9, 1, 0)
    assert np.abs(weight[pruned == 0]).max() <= np.abs(weight[pruned != 0]).min()


def test_file_is_made_once_and_read_as_that_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_CACHE_DIR", str(tmp_path))
    path = open_synthetic("synthetic:minilm-l6?layers=1&sparsity=0.5")
    stamp = path.stat().st_mtime_ns
    assert open_synthetic("synthetic:minilm-l6-p50-f32-layers1") == path
    assert path.stat().st_mtime_ns == stamp
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert onnx.load(path).graph.name == "minilm-l6-p50-f32-layers1"


@pytest.mark.parametrize("setting", ["off", "file"])
def test_without_a_cache_the_file_lives_as_long_as_the_process(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    monkeypatch.setenv("ENGINE_CACHE_DIR", "off" if setting == "off" else str(in_the_way))
    path = open_synthetic("synthetic:minilm-l6?layers=1&sparsity=0.5&seed=5")
    assert path.is_file()
    assert tmp_path not in path.parents
