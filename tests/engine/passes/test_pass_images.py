"""Convolutions become products of pixels, and nothing between two of them is an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from form_check import check, node_of, random
from reference.onnx_builder import ModelBuilder

from engine import frontend, graph, passes

IMAGE = (1, 4, 6, 7)


def _weights(b: ModelBuilder, *shape: int) -> str:
    return b.weight(random(*shape, seed=sum(shape)))


def _built(*steps: str, image: tuple[int, ...] = IMAGE) -> ModelBuilder:
    """Steps in a row: "3x3", "1x1", "depthwise", "strided", "grouped", or an operator's name."""
    b = ModelBuilder(17)
    x = b.input("x", np.float32, image)
    channels = image[1]
    for step in steps:
        if step == "3x3":
            x = b.op("Conv", x, _weights(b, 5, channels, 3, 3), _weights(b, 5), pads=[1, 1, 1, 1])
            channels = 5
        elif step == "1x1":
            x, channels = b.op("Conv", x, _weights(b, 6, channels, 1, 1)), 6
        elif step == "strided":
            x, channels = b.op("Conv", x, _weights(b, 6, channels, 1, 1), strides=[2, 2]), 6
        elif step == "depthwise":
            x = b.op("Conv", x, _weights(b, channels, 1, 3, 3), group=channels, pads=[1, 1, 1, 1])
        elif step == "grouped":
            x = b.op("Conv", x, _weights(b, channels, channels // 2, 2, 2), group=2)
        else:
            x = b.op(step, x)
    b.output(x)
    return b


CASES = {
    ("1x1",): {"linear": 1},
    ("3x3",): {"windows": 1, "linear": 1},
    ("strided",): {"windows": 1, "linear": 1},
    ("grouped",): {"windows": 1, "linear": 1},
    ("depthwise",): {"depthwise": 1},
    ("3x3", "Relu", "1x1", "Sigmoid", "depthwise", "Tanh"): {"windows": 1, "linear": 2, "depthwise": 1},
}


@pytest.mark.parametrize("steps", CASES)
def test_convolutions_are_products_of_pixels(steps: tuple[str, ...]) -> None:
    wanted = Counter({"pixels": 1, "image": 1, **CASES[steps]})
    after = check(_built(*steps), {"x": random(*IMAGE)}, atol=1e-4)
    census = graph.census(after)
    assert {op: census[op] for op in wanted} == dict(wanted), graph.show(after)
    assert set(census) == set(wanted), graph.show(after)


def test_signals_of_one_axis_too() -> None:
    b = ModelBuilder(17)
    x = b.input("x", np.float32, (2, 3, 20))
    b.output(b.op("Conv", x, _weights(b, 4, 3, 5), strides=[2], pads=[1, 3]))
    check(b, {"x": random(2, 3, 20)}, {"pixels": 1, "windows": 1, "linear": 1, "image": 1})


def test_residual_activation_and_bias_are_the_products() -> None:
    b = ModelBuilder(17)
    x = b.input("x", np.float32, IMAGE)
    first = b.op("Relu", b.op("Conv", x, _weights(b, 8, 4, 1, 1)))
    second = b.op("Conv", first, _weights(b, 8, 8, 3, 3), pads=[1, 1, 1, 1])
    row = b.weight(random(1, 8, 1, 1))
    b.output(b.op("Relu", b.op("Add", b.op("Add", second, row), first)))
    after = check(b, {"x": random(*IMAGE)}, {"pixels": 1, "windows": 1, "linear": 2, "image": 1}, atol=1e-4)
    product = after.outputs[0].node.inputs[0]
    assert product is not None
    assert product.node.attrs["activation"] == "relu"
    assert len(product.node.inputs) == 4


def test_an_image_that_others_read_stays_an_image() -> None:
    b = ModelBuilder(17)
    x = b.input("x", np.float32, IMAGE)
    y = b.op("Relu", b.op("Conv", x, _weights(b, 8, 4, 1, 1)))
    b.output(b.op("ReduceMax", y, axes=[2, 3]), b.op("Conv", y, _weights(b, 3, 8, 1, 1)))
    wanted = {"pixels": 1, "linear": 2, "image": 2, "ReduceMax": 1}
    check(b, {"x": random(*IMAGE)}, wanted, atol=1e-4)


def _gate(b: ModelBuilder, x: str, channels: int, pooled: str) -> str:
    """Squeeze and excitation (Hu et al. 2018): channels weighed by what is in the whole image."""
    y = b.op("Relu", b.op("Conv", pooled, _weights(b, 3, channels, 1, 1), _weights(b, 3)))
    gate = b.op("Sigmoid", b.op("Conv", y, _weights(b, channels, 3, 1, 1), _weights(b, channels)))
    return b.op("Mul", gate, x)


POOLED: dict[str, Callable[[ModelBuilder, str], str]] = {
    "GlobalAveragePool": lambda b, x: b.op("GlobalAveragePool", x),
    "ReduceMean": lambda b, x: b.op("ReduceMean", x, axes=[2, 3], keepdims=1),
    "ReduceMean and Reshape": lambda b, x: b.op(
        "Reshape", b.op("ReduceMean", x, axes=[-2, -1], keepdims=0), b.ints(0, -1, 1, 1)
    ),
}


@pytest.mark.parametrize("form", POOLED)
@pytest.mark.parametrize("batch", [1, 3])
def test_gates_of_channels_leave_pixels_where_they_are(form: str, batch: int) -> None:
    b = ModelBuilder(17)
    image = (batch, *IMAGE[1:])
    x = b.input("x", np.float32, image)
    y = b.op("Conv", x, _weights(b, 8, 4, 1, 1))
    b.output(b.op("Conv", _gate(b, y, 8, POOLED[form](b, y)), _weights(b, 5, 8, 1, 1)))
    census = graph.census(check(b, {"x": random(*image)}, atol=1e-4))
    assert census == Counter({"pixels": 1, "linear": 4, "ReduceMean": 1, "Mul": 1, "image": 1})


@pytest.mark.parametrize(("op", "keepdims"), [("ReduceSum", 1), ("ReduceSum", 0), ("ReduceMean", 0)])
def test_sums_of_whole_images_are_sums_of_pixels(op: str, keepdims: int) -> None:
    b = ModelBuilder(11)
    x = b.input("x", np.float32, IMAGE)
    b.output(b.op(op, b.op("Conv", x, _weights(b, 8, 4, 1, 1)), axes=[2, 3], keepdims=keepdims))
    census = graph.census(check(b, {"x": random(*IMAGE)}, atol=1e-3))
    assert census[op] == census["pixels"] == 1
    assert census["image"] == keepdims


def test_computed_weights_stay_a_convolution() -> None:
    b = ModelBuilder(17)
    x, w = b.input("x", np.float32, IMAGE), b.input("w", np.float32, (3, 4, 2, 2))
    b.output(b.op("Conv", x, w))
    check(b, {"x": random(*IMAGE), "w": random(3, 4, 2, 2)}, {"Conv": 1})


def test_quantised_convolutions_hand_on_bytes() -> None:
    """From one convolution to the next nothing is dequantised, and the padding is the zero point."""
    b = ModelBuilder(17)
    s = b.weight(np.float32(0.25)), b.weight(np.uint8(17))
    x = b.input("x", np.float32, IMAGE)
    for shape, attrs in (
        ((8, 4, 3, 3), {"pads": [1, 1, 1, 1]}),
        ((8, 1, 3, 3), {"group": 8}),
        ((6, 8, 1, 1), {}),
    ):
        w = np.random.default_rng(4).integers(-127, 128, shape).astype(np.int8)
        stored = b.op("DequantizeLinear", b.weight(w), b.weight(np.float32(2**-8)), b.weight(np.int8(0)))
        y = b.op("Conv", b.op("DequantizeLinear", b.op("QuantizeLinear", x, *s), *s), stored, **attrs)
        x = b.op("Relu", y)
    b.output(x)
    x_in = np.random.default_rng(5).integers(-9, 9, IMAGE).astype(np.float32) / 8
    wanted = {
        "pixels": 1,
        "quantize": 1,
        "windows": 1,
        "quantized_linear": 2,
        "quantized_depthwise": 1,
        "image": 1,
    }
    after = check(b, {"x": x_in}, wanted, exact=True)
    fill = node_of(after, "windows").inputs[1]
    assert fill is not None
    assert int(fill.array) == 17  # type: ignore[arg-type]


@pytest.mark.parametrize("is_rounded_before", [False, True])
def test_the_largest_of_windows_is_found_among_bytes(*, is_rounded_before: bool) -> None:
    """No image lies between two quantised convolutions and the pooling of what one hands to the other."""
    b = ModelBuilder(17)
    s = b.weight(np.float32(0.25)), b.weight(np.uint8(17))
    x = b.op("DequantizeLinear", b.op("QuantizeLinear", b.input("x", np.float32, IMAGE), *s), *s)
    for step in range(2):
        w = np.random.default_rng(4).integers(-127, 128, (4, 4, 1, 1)).astype(np.int8)
        stored = b.op("DequantizeLinear", b.weight(w), b.weight(np.float32(2**-8)), b.weight(np.int8(0)))
        x = b.op("Conv", x, stored)
        if step == 0:
            if is_rounded_before:
                x = b.op("DequantizeLinear", b.op("QuantizeLinear", x, *s), *s)
            x = b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
            x = b.op("DequantizeLinear", b.op("QuantizeLinear", x, *s), *s)
    b.output(x)
    x_in = np.random.default_rng(5).integers(-9, 9, IMAGE).astype(np.float32) / 8
    wanted = {"pixels": 1, "quantize": 1, "quantized_linear": 2, "largest_pixels": 1, "image": 1}
    check(b, {"x": x_in}, wanted, exact=True)


def test_both_sides_of_a_sum_are_handed_on_as_bytes() -> None:
    """Two convolutions whose rounded results are added: one stores bytes, the other reads them."""
    b = ModelBuilder(17)
    s, t = ((b.weight(np.float32(v)), b.weight(np.uint8(z))) for v, z in ((0.25, 17), (0.5, 101)))
    x = b.op("DequantizeLinear", b.op("QuantizeLinear", b.input("x", np.float32, IMAGE), *s), *s)
    sides = []
    for seed in range(2):
        w = np.random.default_rng(seed).integers(-127, 128, (8, 4, 1, 1)).astype(np.int8)
        stored = b.op("DequantizeLinear", b.weight(w), b.weight(np.float32(2**-8)), b.weight(np.int8(0)))
        sides.append(b.op("DequantizeLinear", b.op("QuantizeLinear", b.op("Conv", x, stored), *t), *t))
    b.output(b.op("Relu", b.op("Add", *sides)))
    x_in = np.random.default_rng(5).integers(-9, 9, IMAGE).astype(np.float32) / 8
    wanted = {"pixels": 1, "quantize": 1, "quantized_linear": 2, "DequantizeLinear": 1, "image": 1}
    after = check(b, {"x": x_in}, wanted, exact=True)
    stores = [step.attrs["store"] for step in after.nodes() if step.op == "quantized_linear"]
    assert sorted(store is not None for store in stores) == [False, True]


def test_what_others_read_unrounded_is_pooled_unrounded() -> None:
    b = ModelBuilder(17)
    s = b.weight(np.float32(0.25)), b.weight(np.uint8(17))
    y = b.op("MaxPool", b.input("x", np.float32, IMAGE), kernel_shape=[2, 2])
    b.output(b.op("QuantizeLinear", y, *s))
    b.output(b.op("Relu", y))
    x_in = np.random.default_rng(5).integers(-9, 9, IMAGE).astype(np.float32) / 8
    check(b, {"x": x_in}, {"MaxPool": 1, "quantize": 1, "Relu": 1}, exact=True)


def test_graphs_of_one_model_share_their_matrices() -> None:
    """Packed weights are found by the identity of the array."""
    model = frontend.open_model(_built("3x3", "1x1", image=("batch", *IMAGE[1:])).model())  # type: ignore[arg-type]
    graphs = [passes.run(frontend.bind(model, {"x": (batch, *IMAGE[1:])})) for batch in (1, 2)]
    first, second = ([id(node.attrs["value"]) for node in g.nodes() if node.op == "Constant"] for g in graphs)
    assert first == second


def _normalised(b: ModelBuilder, y: str, channels: int) -> str:
    mean, gain, shift = (b.weight(random(channels, seed=seed)) for seed in (5, 6, 7))
    return b.op("BatchNormalization", y, gain, shift, mean, b.weight(np.abs(random(channels)) + 1))


@pytest.mark.parametrize("bias", [False, True])
def test_batch_normalisation_is_in_the_weights(bias: bool) -> None:
    b = ModelBuilder(17)
    inputs = [b.input("x", np.float32, IMAGE), _weights(b, 5, 4, 1, 1)]
    y = b.op("Conv", *inputs, *([_weights(b, 5)] if bias else []))
    b.output(b.op("Relu", _normalised(b, y, 5)))
    check(b, {"x": random(*IMAGE)}, {"pixels": 1, "linear": 1, "image": 1}, atol=1e-4)


def test_batch_normalisation_alone_is_a_factor_and_a_number() -> None:
    b = ModelBuilder(17)
    b.output(_normalised(b, b.input("x", np.float32, IMAGE), 4))
    check(b, {"x": random(*IMAGE)}, {"Mul": 1, "Add": 1}, atol=1e-4)


def test_quantised_weights_keep_their_numbers_under_batch_normalisation() -> None:
    b = ModelBuilder(17)
    s = b.weight(np.float32(0.25)), b.weight(np.uint8(17))
    x = b.op("DequantizeLinear", b.op("QuantizeLinear", b.input("x", np.float32, IMAGE), *s), *s)
    w = np.random.default_rng(4).integers(-127, 128, (5, 4, 1, 1)).astype(np.int8)
    stored = b.op("DequantizeLinear", b.weight(w), b.weight(np.float32(2**-8)), b.weight(np.int8(0)))
    b.output(_normalised(b, b.op("Conv", x, stored), 5))
    after = check(b, {"x": random(*IMAGE)}, atol=1e-4)
    assert np.array_equal(node_of(after, "quantized_linear").inputs[1].array, w.reshape(5, 4))  # type: ignore[union-attr,arg-type]


def test_what_is_read_as_bytes_and_as_numbers_is_computed_once() -> None:
    """A block's result goes to the next convolution and to the next sum."""
    b = ModelBuilder(17)
    s = b.weight(np.float32(0.25)), b.weight(np.uint8(17))
    x = b.input("x", np.float32, IMAGE)
    for _ in range(3):
        read = b.op("DequantizeLinear", b.op("QuantizeLinear", x, *s), *s)
        w = np.random.default_rng(4).integers(-127, 128, (4, 4, 1, 1)).astype(np.int8)
        stored = b.op("DequantizeLinear", b.weight(w), b.weight(np.float32(2**-8)), b.weight(np.int8(0)))
        x = b.op("Relu", b.op("Add", b.op("Conv", read, stored), read))
    b.output(x)
    x_in = np.random.default_rng(5).integers(-9, 9, IMAGE).astype(np.float32) / 8
    after = check(b, {"x": x_in}, exact=True)
    assert graph.census(after)["quantized_linear"] == 3


def test_channels_are_joined_as_features() -> None:
    b = ModelBuilder(17)
    x = b.input("x", np.float32, IMAGE)
    first = b.op("Relu", b.op("Conv", x, _weights(b, 8, 4, 1, 1)))
    other = b.op("Concat", first, x, b.op("Conv", x, _weights(b, 5, 4, 1, 1)), axis=1)
    b.output(b.op("Conv", other, _weights(b, 6, 17, 1, 1)))
    check(b, {"x": random(*IMAGE)}, {"pixels": 1, "concat_pixels": 1, "linear": 3, "image": 1}, atol=1e-4)


def test_slices_of_channels_are_slices_of_features() -> None:
    b = ModelBuilder(17)
    x = b.input("x", np.float32, IMAGE)
    both = b.op("Conv", x, _weights(b, 8, 4, 1, 1))
    one, two = b.ops("Split", both, b.weight(np.array([3, 5], np.int64)), count=2, axis=1)
    b.output(b.op("Conv", one, _weights(b, 6, 3, 1, 1)))
    b.output(b.op("Conv", two, _weights(b, 6, 5, 1, 1)))
    check(b, {"x": random(*IMAGE)}, {"pixels": 1, "Slice": 2, "linear": 3, "image": 2}, atol=1e-4)


@pytest.mark.parametrize("perm", [(0, 1, 3, 4, 2), (0, 3, 4, 1, 2), (0, 4, 1, 3, 2)])
@pytest.mark.parametrize("op", ["Sigmoid", "Relu", "Tanh", "HardSigmoid"])
def test_heads_split_features_and_take_their_activation_in_the_product(
    perm: tuple[int, ...], op: str
) -> None:
    b = ModelBuilder(17)
    x = b.input("x", np.float32, IMAGE)
    y = b.op("Conv", x, _weights(b, 15, 4, 1, 1), _weights(b, 15))
    split = b.op("Reshape", y, b.weight(np.array([1, 3, 5, 6, 7], np.int64)))
    b.output(b.op(op, b.op("Transpose", split, perm=list(perm))))
    wanted = {"pixels": 1, "linear": 1, "Reshape": 1, "Transpose": 1}
    after = check(b, {"x": random(*IMAGE)}, wanted, atol=1e-4)
    activation = node_of(after, "linear").attrs["activation"]
    name = activation if isinstance(activation, str) else activation[0]
    assert name.replace("_", "") == op.lower()
