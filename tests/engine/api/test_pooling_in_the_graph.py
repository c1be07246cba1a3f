"""Encoders that average their positions themselves: padding is left out of the sums, and of all before them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from padding_masks import prefixes, with_holes

from engine import Engine, explain

pytestmark = pytest.mark.xdist_group("cores")

ENCODER = Path(__file__).parents[2] / "data" / "exported" / "bert_sdpa_dynamo23.onnx"
BATCH, LENGTH = 3, 40
ROWS, MASK = "layer_norm_4", "attention_mask"


class Tail:
    """Nodes behind an encoder; each call answers the name of its result."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph

    def op(self, name: str, *inputs: str, **attributes: Any) -> str:
        made = f"tail_{len(self.graph.node)}"
        self.graph.node.append(helper.make_node(name, inputs, [made], **attributes))
        return made

    def number(self, array: object, dtype: type[np.generic] = np.float32) -> str:
        name = f"number_{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def ints(self, *values: int) -> str:
        return self.number(values, np.int64)

    def weights(self, to: int = TensorProto.FLOAT) -> str:
        return self.op("Cast", self.op("Unsqueeze", MASK, self.ints(-1)), to=to)

    def sums(self, x: str) -> str:
        return self.op("ReduceSum", x, self.ints(1), keepdims=0)


def _expanded(t: Tail) -> str:
    """As sentence-transformers does; normalised by a norm, a clip and a division."""
    shape = t.op("Shape", ROWS)
    kept = t.op(
        "Cast",
        t.op("Expand", t.op("Unsqueeze", MASK, t.ints(-1)), shape),
        to=TensorProto.FLOAT,
    )
    count = t.op("Clip", t.sums(kept), t.number(1e-9))
    mean = t.op("Div", t.sums(t.op("Mul", ROWS, kept)), count)
    norm = t.op("Clip", t.op("ReduceL2", mean, t.ints(1), keepdims=1), t.number(1e-12))
    return t.op("Div", mean, t.op("Expand", norm, t.op("Shape", mean)))


def _lp_normalised(t: Tail) -> str:
    kept = t.weights()
    mean = t.op("Div", t.sums(t.op("Mul", kept, ROWS)), t.sums(kept))
    return t.op("LpNormalization", mean, axis=-1, p=2)


def _filled(t: Tail) -> str:
    """As E5 does: what is no token is replaced by 0."""
    padding = t.op("Not", t.weights(TensorProto.BOOL))
    return t.op("Div", t.sums(t.op("Where", padding, t.number(0), ROWS)), t.sums(t.weights()))


def _kept_axis(t: Tail) -> str:
    kept = t.weights()
    total = t.op("ReduceSum", t.op("Mul", ROWS, kept), t.ints(1), keepdims=1)
    return t.op("Div", total, t.op("ReduceSum", kept, t.ints(1), keepdims=1))


def _shares(t: Tail) -> str:
    """Weights that add up to one, as a row of a product."""
    row = t.op("Cast", MASK, to=TensorProto.FLOAT)
    share = t.op("Div", row, t.op("ReduceSum", row, t.ints(1), keepdims=1))
    return t.op("MatMul", t.op("Unsqueeze", share, t.ints(1)), ROWS)


def _turned(t: Tail) -> str:
    """As einsum("bsk,bs->bk") is written."""
    turned = t.op("Transpose", ROWS, perm=[0, 2, 1])
    return t.op("Div", t.op("Squeeze", t.op("MatMul", turned, t.weights()), t.ints(2)), t.sums(t.weights()))


def _inverted(t: Tail) -> str:
    """A sum over padding: it is no mean over tokens, and all positions count."""
    return t.sums(t.op("Mul", ROWS, t.op("Sub", t.number(1), t.weights())))


TAILS = (_expanded, _lp_normalised, _filled, _kept_axis, _shares, _turned)


MASKS = (
    prefixes(LENGTH, 40, 7, 33),
    with_holes(BATCH, LENGTH),
    prefixes(LENGTH, 1, 2, 3),
    prefixes(LENGTH, 40, 40, 40),
    prefixes(LENGTH, 16, 17, 15)[:, ::-1],
    prefixes(LENGTH, 40, 0, 5),
    2 * prefixes(LENGTH, 40, 7, 17),
)


def _model(folder: Path, tail: Callable[[Tail], str]) -> str:
    model = onnx.load(ENCODER)
    # Only the encoder's rows are read: its own pooler would look at the first position.
    del model.graph.output[:]
    model.graph.output.append(helper.make_empty_tensor_value_info(tail(Tail(model.graph))))
    path = folder / "pooled.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return str(path)


def _engine(file: str, **options: Any) -> Engine:
    return Engine(file, BATCH, input_shapes=[[BATCH, LENGTH]], **options)


def _inputs(engine: Engine, mask: np.ndarray) -> list[np.ndarray]:
    source = np.random.default_rng(1)
    shape = (BATCH, LENGTH)
    return [
        np.ascontiguousarray(mask) if name == MASK else source.integers(0, 1 if "type" in name else 40, shape)
        for name in engine.input_names
    ]


@pytest.mark.parametrize("tail", TAILS)
def test_means_are_the_same_with_and_without_padding(tmp_path: Path, tail: Callable[[Tail], str]) -> None:
    file = _model(tmp_path, tail)
    skips, computes, alone = _engine(file), _engine(file, skip_padding=False), _engine(file, num_cores=1)
    assert skips.compiled is not None
    assert skips.compiled.plan.ragged is not None
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for mask in MASKS:
        inputs = _inputs(skips, mask)
        (got,), (whole,), (single,) = (engine.run(inputs) for engine in (skips, computes, alone))
        assert np.array_equal(got, whole, equal_nan=True)
        assert np.array_equal(got, single, equal_nan=True)
        (theirs,) = session.run(None, dict(zip(skips.input_names, inputs, strict=True)))
        np.testing.assert_allclose(got, theirs, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("tail", TAILS)
def test_the_sum_over_positions_is_one_step(tmp_path: Path, tail: Callable[[Tail], str]) -> None:
    explanation = explain(_engine(_model(tmp_path, tail)))
    ops = [layer.op for layer in explanation.layers]
    assert ops.count("weighted_sum") == 1
    last = len(ops) - ops[::-1].index("layer_norm")
    assert not {"Expand", "Mul", "Where", "Transpose", "MatMul"} & set(ops[last : ops.index("weighted_sum")])
    assert explanation.on_host == ()


def test_fewer_tokens_take_fewer_tiles_before_the_sum(tmp_path: Path) -> None:
    skips = _engine(_model(tmp_path, _expanded))
    assert skips.compiled is not None
    tiles = skips.compiled.plan.table["tiles"]
    skips.run(_inputs(skips, MASKS[3]))
    whole = int(tiles.sum())
    skips.run(_inputs(skips, MASKS[2]))
    assert int(tiles.sum()) < 0.7 * whole


def test_a_sum_that_padding_counts_in_computes_it(tmp_path: Path) -> None:
    file = _model(tmp_path, _inverted)
    skips, computes = _engine(file), _engine(file, skip_padding=False)
    assert skips.compiled is not None
    assert skips.compiled.plan.ragged is None
    inputs = _inputs(skips, MASKS[0])
    assert np.array_equal(skips.run(inputs)[0], computes.run(inputs)[0])
