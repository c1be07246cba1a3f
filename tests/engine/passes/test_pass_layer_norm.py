"""Layer normalisation in every way of writing it becomes layer_norm, and nothing else does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from form_check import check, node_of, random
from reference.onnx_builder import ModelBuilder

from engine import graph

WIDTH = 7
FEEDS = {"x": random(2, 3, WIDTH) * 3 + 1}


@dataclass(frozen=True)
class Variant:
    """How one writer writes it."""

    square: str = "pow"
    root: str = "div"
    duplicated: bool = False
    gain: bool = True
    bias: bool = True
    swapped: bool = False


VARIANTS = [
    Variant(),
    Variant(square="mul"),
    Variant(root="reciprocal"),
    Variant(root="one over"),
    Variant(root="half power"),
    Variant(root="minus half"),
    Variant(duplicated=True),
    Variant(bias=False),
    Variant(gain=False, bias=False),
    Variant(gain=False),
    Variant(swapped=True),
]


def decomposed(b: ModelBuilder, x: str, variant: Variant, axis: int = -1, epsilon: float = 1e-5) -> str:
    mean = b.op("ReduceMean", x, axes=[axis])
    d = b.op("Sub", x, mean)
    other = b.op("Sub", x, b.op("ReduceMean", x, axes=[axis])) if variant.duplicated else d
    square = b.op("Pow", other, b.number(2)) if variant.square == "pow" else b.op("Mul", other, other)
    spread = b.op("Add", b.op("ReduceMean", square, axes=[axis]), b.number(epsilon))
    y = rooted(b, d, spread, variant.root)
    if variant.gain:
        g = b.weight(random(WIDTH, seed=5))
        y = b.op("Mul", g, y) if variant.swapped else b.op("Mul", y, g)
    if variant.bias:
        c = b.weight(random(WIDTH, seed=6))
        y = b.op("Add", c, y) if variant.swapped else b.op("Add", y, c)
    return y


def rooted(b: ModelBuilder, d: str, spread: str, root: str) -> str:
    if root == "half power":
        return b.op("Div", d, b.op("Pow", spread, b.number(0.5)))
    if root == "minus half":
        return b.op("Mul", d, b.op("Pow", spread, b.number(-0.5)))
    deviation = b.op("Sqrt", spread)
    if root == "reciprocal":
        return b.op("Mul", d, b.op("Reciprocal", deviation))
    if root == "one over":
        return b.op("Mul", b.op("Div", b.number(1), deviation), d)
    return b.op("Div", d, deviation)


def with_means(after: graph.Graph) -> list[graph.Node]:
    """Norms that take a mean away; others may divide a deviation that somebody else computed."""
    return [one for one in after.nodes() if one.op == "layer_norm" and not one.attrs.get("keeps_mean")]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_decomposed_norm_is_found(variant: Variant) -> None:
    b = ModelBuilder()
    b.output(decomposed(b, b.input("x", np.float32, (2, 3, WIDTH)), variant))
    after = check(b, FEEDS, {"layer_norm": 1})
    assert node_of(after, "layer_norm").attrs["epsilon"] == pytest.approx(1e-5)


def test_rearranged_norm_is_found() -> None:
    """x * r + (b - mean * r), as TensorFlow writes it."""
    b = ModelBuilder()
    x = b.input("x", np.float32, (2, 3, WIDTH))
    mean = b.op("ReduceMean", x, axes=[-1])
    d = b.op("Sub", x, mean)
    variance = b.op("ReduceMean", b.op("Mul", d, d), axes=[-1])
    inverse = b.op("Reciprocal", b.op("Sqrt", b.op("Add", variance, b.number(1e-3))))
    r = b.op("Mul", inverse, b.weight(random(WIDTH, seed=5)))
    shift = b.op("Sub", b.weight(random(WIDTH, seed=6)), b.op("Mul", mean, r))
    b.output(b.op("Add", b.op("Mul", x, r), shift))
    check(b, FEEDS, {"layer_norm": 1})


@pytest.mark.parametrize("bias", [True, False])
def test_operator_is_taken(bias: bool) -> None:
    b = ModelBuilder(opset=17)
    x = b.input("x", np.float32, (2, 3, WIDTH))
    parameters = [b.weight(random(WIDTH, seed=seed)) for seed in ((5, 6) if bias else (5,))]
    b.output(b.op("LayerNormalization", x, *parameters, axis=-1, epsilon=1e-6))
    check(b, FEEDS, {"layer_norm": 1})


def test_operator_over_two_axes_stays() -> None:
    b = ModelBuilder(opset=17)
    x = b.input("x", np.float32, (2, 3, WIDTH))
    b.output(b.op("LayerNormalization", x, b.weight(random(3, WIDTH)), axis=1))
    check(b, FEEDS, {"LayerNormalization": 1})


def test_operator_whose_mean_is_read_stays() -> None:
    b = ModelBuilder(opset=17)
    x = b.input("x", np.float32, (2, 3, WIDTH))
    b.output(*b.ops("LayerNormalization", x, b.weight(random(WIDTH)), b.weight(random(WIDTH)), count=3))
    check(b, FEEDS, {"LayerNormalization": 1})


def test_norm_over_another_axis_stays() -> None:
    b = ModelBuilder()
    x = b.input("x", np.float32, (2, WIDTH, WIDTH))
    b.output(decomposed(b, x, Variant(), axis=1))
    after = check(b, {"x": random(2, WIDTH, WIDTH)})
    assert graph.census(after)["layer_norm"] == 0


@pytest.mark.parametrize("inside", ["Sub", "Pow", "Sqrt"])
def test_norm_whose_inside_is_an_output_stays(inside: str) -> None:
    b = ModelBuilder()
    y = decomposed(b, b.input("x", np.float32, (2, 3, WIDTH)), Variant())
    b.output(y, next(node.output[0] for node in b.nodes if node.op_type == inside))
    assert not with_means(check(b, FEEDS))


def test_cube_for_square_stays() -> None:
    b = ModelBuilder()
    x = b.input("x", np.float32, (2, 3, WIDTH))
    d = b.op("Sub", x, b.op("ReduceMean", x, axes=[-1]))
    cube = b.op("ReduceMean", b.op("Abs", b.op("Pow", d, b.number(3))), axes=[-1])
    b.output(b.op("Div", d, b.op("Sqrt", b.op("Add", cube, b.number(1e-5)))))
    after = check(b, FEEDS)
    assert graph.census(after)["layer_norm"] == 0


def test_deviation_from_another_mean_stays() -> None:
    b = ModelBuilder()
    x, z = b.input("x", np.float32, (2, 3, WIDTH)), b.input("z", np.float32, (2, 3, WIDTH))
    d = b.op("Sub", x, b.op("ReduceMean", z, axes=[-1]))
    variance = b.op("ReduceMean", b.op("Mul", d, d), axes=[-1])
    b.output(b.op("Div", d, b.op("Sqrt", b.op("Add", variance, b.number(1e-5)))))
    assert not with_means(check(b, {**FEEDS, "z": random(2, 3, WIDTH, seed=9)}))


def test_gain_of_another_shape_stays_outside() -> None:
    b = ModelBuilder()
    y = decomposed(b, b.input("x", np.float32, (2, 3, WIDTH)), Variant(gain=False, bias=False))
    b.output(b.op("Mul", y, b.weight(random(3, 1))))
    check(b, FEEDS, {"layer_norm": 1, "Mul": 1})
