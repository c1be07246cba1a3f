"""Whatever is read from inside a form, the passes keep it right: any node may be an output of the graph too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import test_pass_gelu as gelu
import test_pass_layer_norm as layer_norm
from attention_forms import Attention, write
from form_check import check, random
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder, run_peer

Feeds = dict[str, np.ndarray]
WIDTH = 7


def attention(form: Attention) -> Callable[[ModelBuilder], Feeds]:
    def build(b: ModelBuilder) -> Feeds:
        b.output(write(b, form)["y"])
        return form.feeds()

    return build


def norm_then_gelu(b: ModelBuilder) -> Feeds:
    """A block: norm, dense, GELU, dense, residual."""
    x = b.input("x", np.float32, (2, 3, WIDTH))
    rows = layer_norm.decomposed(b, x, layer_norm.Variant())
    up = b.op("Add", b.weight(random(5)), b.op("MatMul", rows, b.weight(random(WIDTH, 5))))
    down = b.op("MatMul", gelu.erf_a(b, up), b.weight(random(5, WIDTH, seed=8)))
    b.output(b.op("Add", b.op("Add", down, b.weight(random(WIDTH))), x))
    return {"x": random(2, 3, WIDTH)}


def tanh_gelu(b: ModelBuilder) -> Feeds:
    b.output(gelu.tanh_c(b, b.input("x", np.float32, (3, 17))))
    return {"x": random(3, 17)}


def quantised_block(b: ModelBuilder) -> Feeds:
    """Exact in every order: small whole weights, scales that are powers of two."""
    x = b.input("x", np.float32, (2, 3, WIDTH))

    def rounded(y: str, scale: float, zero: int, dtype: type) -> str:
        pair = b.number(scale), b.number(zero, dtype)
        return b.op("DequantizeLinear", b.op("QuantizeLinear", y, *pair), *pair)

    def weight(k: int, m: int) -> str:
        whole = np.random.default_rng(k).integers(-9, 9, (k, m)).astype(np.int8)
        return b.op("DequantizeLinear", b.weight(whole), b.number(0.25))

    coarse = rounded(x, 0.5, 120, np.uint8)
    product = rounded(b.op("MatMul", coarse, weight(WIDTH, 6)), 1.0, -3, np.int8)
    up = b.op("Relu", b.op("Add", b.weight(np.arange(6, dtype=np.float32)), product))
    turned = b.op("Transpose", rounded(up, 0.5, 7, np.uint8), perm=[0, 2, 1])
    back = b.op("Transpose", rounded(turned, 0.5, 7, np.uint8), perm=[0, 2, 1])
    down = b.op("MatMul", back, weight(6, WIDTH))
    b.output(b.op("Add", down, coarse))
    return {"x": np.rint(random(2, 3, WIDTH) * 4).astype(np.float32)}


def integer_block(b: ModelBuilder) -> Feeds:
    """Integer products as training exporters write them, the second from the rounded result of the first."""
    y = b.input("x", np.float32, (2, 3, WIDTH))
    for k, m in ((WIDTH, 6), (6, 5)):
        zero = b.number(3, np.uint8)
        w = b.weight(np.random.default_rng(k).integers(0, 256, (k, m)).astype(np.uint8))
        q = b.op("QuantizeLinear", y, b.number(0.5), zero)
        sums = b.op("MatMulInteger", q, w, zero, b.number(128, np.uint8))
        biased = b.op("Add", sums, b.weight(np.arange(m, dtype=np.int32)))
        y = b.op("Relu", b.op("Mul", b.op("Cast", biased, to=1), b.number(0.03125)))
    b.output(y)
    return {"x": np.rint(random(2, 3, WIDTH) * 4).astype(np.float32)}


def embedded(b: ModelBuilder) -> Feeds:
    ids = b.input("ids", np.int64, (2, 3))
    table = b.weight(np.random.default_rng(1).integers(0, 256, (9, WIDTH)).astype(np.uint8))
    words = b.op("DequantizeLinear", b.op("Gather", table, ids), b.number(0.5), b.number(128, np.uint8))
    kinds = b.op("Gather", b.weight(random(2, WIDTH)), b.op("Cast", b.op("Greater", ids, b.ints(4)), to=7))
    b.output(b.op("Add", b.op("Add", words, kinds), b.op("Gather", b.weight(random(9, WIDTH)), ids)))
    return {"ids": np.array([[0, 5, 8], [1, 1, -1]])}


BLOCKS = [
    attention(Attention()),
    attention(Attention(mask="boolean", guard=True, scaling="both", keys="batched", projected=True)),
    attention(Attention(mask="where", scaling="late", keys="twice")),
    norm_then_gelu,
    tanh_gelu,
    attention(Attention(quantised="integer", projected=True, keys="batched")),
    quantised_block,
    integer_block,
    embedded,
]


@pytest.mark.parametrize("build", BLOCKS, ids=lambda build: build.__qualname__.split(".")[0])
@given(data=st.data())
def test_results_hold_whatever_is_read_from_inside(
    build: Callable[[ModelBuilder], Feeds], data: st.DataObject
) -> None:
    b = ModelBuilder()
    feeds = build(b)
    names = [name for node in b.nodes for name in node.output if name not in b.outputs]
    b.output(*data.draw(st.lists(st.sampled_from(names), max_size=3, unique=True)))
    check(b, feeds, peer=False)


def widened(b: ModelBuilder, ranks: list[int]) -> None:
    """Write f32 numbers as arrays of one element, of the given ranks in turn; scales of roundings stay."""
    scales = {node.input[1] for node in b.nodes if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    numbers = [node for node in b.nodes if node.op_type == "Constant" and node.output[0] not in scales]
    tensors = [node.attribute[0].t for node in numbers]
    for place, tensor in enumerate(tensor for tensor in tensors if tensor.data_type == 1 and not tensor.dims):
        tensor.dims.extend([1] * ranks[place % len(ranks)])


@pytest.mark.parametrize("build", BLOCKS, ids=lambda build: build.__qualname__.split(".")[0])
@given(ranks=st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_results_hold_whatever_the_rank_of_numbers(
    build: Callable[[ModelBuilder], Feeds], ranks: list[int]
) -> None:
    """A constant of a higher rank than its operand adds axes, and then the form is another one."""
    b = ModelBuilder()
    feeds = build(b)
    widened(b, ranks)
    try:
        run_peer(b.model(), feeds)
    except Exception:
        return
    check(b, feeds, peer=False)
