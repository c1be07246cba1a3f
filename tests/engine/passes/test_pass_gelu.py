"""GELU in every way of writing it becomes gelu, and nothing near it does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from form_check import check, node_of, random
from reference.onnx_builder import ModelBuilder
from reference.quantised_oracle import erf_gelu

from engine import graph

FEEDS = {"x": random(3, 17) * 3}
Form = Callable[[ModelBuilder, str], str]


def gate(b: ModelBuilder, argument: str, curve: str = "Erf") -> str:
    return b.op("Add", b.op(curve, argument), b.number(1))


def erf_a(b: ModelBuilder, x: str) -> str:
    y = b.op("Mul", x, gate(b, b.op("Div", x, b.number(1.41421))))
    return b.op("Mul", y, b.number(0.5))


def erf_b(b: ModelBuilder, x: str) -> str:
    return b.op("Mul", x, b.op("Mul", gate(b, b.op("Div", x, b.number(2**0.5))), b.number(0.5)))


def erf_c(b: ModelBuilder, x: str) -> str:
    return b.op("Mul", b.op("Mul", x, b.number(0.5)), gate(b, b.op("Div", x, b.number(2**0.5))))


def erf_d(b: ModelBuilder, x: str) -> str:
    y = gate(b, b.op("Mul", b.number(0.70710677), x))
    return b.op("Mul", b.number(0.5), b.op("Mul", y, x))


def erf_e(b: ModelBuilder, x: str) -> str:
    y = gate(b, b.op("Div", x, b.op("Sqrt", b.number(2))))
    return b.op("Mul", b.op("Mul", b.number(0.5), x), y)


def inner_cube(b: ModelBuilder, x: str) -> str:
    return b.op("Mul", b.op("Mul", b.op("Mul", x, x), x), b.number(0.044715))


def tanh_a(b: ModelBuilder, x: str) -> str:
    inner = b.op("Mul", b.op("Add", x, inner_cube(b, x)), b.number(0.797885))
    return b.op("Mul", b.op("Mul", gate(b, inner, "Tanh"), x), b.number(0.5))


def tanh_b(b: ModelBuilder, x: str) -> str:
    cube = b.op("Mul", b.number(0.044715), b.op("Pow", x, b.number(3)))
    inner = b.op("Mul", b.number(0.7978846), b.op("Add", cube, x))
    return b.op("Mul", x, b.op("Mul", b.number(0.5), gate(b, inner, "Tanh")))


def tanh_c(b: ModelBuilder, x: str) -> str:
    square = b.op("Mul", b.op("Mul", b.number(0.044715), x), x)
    inner = b.op("Mul", b.op("Mul", x, b.number(0.79788)), b.op("Add", b.number(1), square))
    return b.op("Mul", b.op("Mul", b.number(0.5), x), gate(b, inner, "Tanh"))


FORMS = [(f, "none") for f in (erf_a, erf_b, erf_c, erf_d, erf_e)] + [
    (f, "tanh") for f in (tanh_a, tanh_b, tanh_c)
]


@pytest.mark.parametrize(("form", "approximate"), FORMS, ids=lambda value: getattr(value, "__name__", value))
def test_gelu_is_found(form: Form, approximate: str) -> None:
    b = ModelBuilder()
    b.output(form(b, b.input("x", np.float32, (3, 17))))
    after = check(b, FEEDS, {"gelu": 1})
    assert node_of(after, "gelu").attrs["approximate"] == approximate


def test_gelu_is_the_formula() -> None:
    b = ModelBuilder()
    b.output(erf_a(b, b.input("x", np.float32, (3, 17))))
    after = check(b, FEEDS, {"gelu": 1})
    np.testing.assert_allclose(graph.evaluate(after, FEEDS)[0], erf_gelu(FEEDS["x"]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("form", "approximate"), FORMS, ids=lambda value: getattr(value, "__name__", value))
def test_gelu_joins_the_product_before_it(form: Form, approximate: str) -> None:
    b = ModelBuilder()
    x = b.op("MatMul", b.input("x", np.float32, (3, 17)), b.weight(random(17, 4)))
    b.output(form(b, b.op("Add", b.weight(random(4)), x)))
    after = check(b, FEEDS, {"linear": 1})
    assert node_of(after, "linear").attrs["activation"] == {"none": "gelu", "tanh": "gelu_tanh"}[approximate]


@pytest.mark.parametrize(("kind", "approximate"), [("none", "none"), ("tanh", "tanh")])
def test_operator_of_opset_20_is_taken(kind: str, approximate: str) -> None:
    b = ModelBuilder(opset=20)
    b.output(b.op("Gelu", b.input("x", np.float32, (3, 17)), approximate=kind))
    after = check(b, FEEDS, {"gelu": 1})
    assert node_of(after, "gelu").attrs["approximate"] == approximate


@pytest.mark.parametrize(
    ("kind", "biased"), [("Gelu", False), ("BiasGelu", True), ("FastGelu", True), ("FastGelu", False)]
)
def test_extensions_of_onnxruntime_are_read(kind: str, biased: bool) -> None:
    b = ModelBuilder(domains={"com.microsoft": 1})
    x = b.input("x", np.float32, (3, 17))
    b.output(b.op(kind, x, *([b.weight(random(17))] if biased else []), domain="com.microsoft"))
    check(b, FEEDS, {"gelu": 1, "Add": 1} if biased else {"gelu": 1})


def test_quick_gelu_of_onnxruntime_is_swish() -> None:
    b = ModelBuilder(domains={"com.microsoft": 1})
    b.output(b.op("QuickGelu", b.input("x", np.float32, (3, 17)), domain="com.microsoft", alpha=1.702))
    check(b, FEEDS, {"Swish": 1})


def wrong_divisor(b: ModelBuilder, x: str) -> str:
    return b.op("Mul", b.op("Mul", x, gate(b, b.op("Div", x, b.number(1.5)))), b.number(0.5))


def wrong_factor(b: ModelBuilder, x: str) -> str:
    return b.op("Mul", b.op("Mul", x, gate(b, b.op("Div", x, b.number(2**0.5)))), b.number(0.25))


def wrong_tanh_factor(b: ModelBuilder, x: str) -> str:
    inner = b.op("Mul", b.op("Add", x, inner_cube(b, x)), b.number(0.7))
    return b.op("Mul", b.op("Mul", gate(b, inner, "Tanh"), x), b.number(0.5))


def wrong_one(b: ModelBuilder, x: str) -> str:
    y = b.op("Add", b.op("Erf", b.op("Div", x, b.number(2**0.5))), b.number(1.01))
    return b.op("Mul", b.op("Mul", x, y), b.number(0.5))


def other_operand(b: ModelBuilder, x: str) -> str:
    y = gate(b, b.op("Div", b.op("Sin", x), b.number(2**0.5)))
    return b.op("Mul", b.op("Mul", x, y), b.number(0.5))


@pytest.mark.parametrize(
    "form",
    [wrong_divisor, wrong_factor, wrong_tanh_factor, wrong_one, other_operand],
    ids=lambda form: form.__name__,
)
def test_near_misses_stay(form: Form) -> None:
    b = ModelBuilder()
    b.output(form(b, b.input("x", np.float32, (3, 17))))
    assert graph.census(check(b, FEEDS))["gelu"] == 0


@pytest.mark.parametrize("inside", ["Erf", "Add", "Div"])
def test_gelu_whose_inside_is_an_output_stays(inside: str) -> None:
    b = ModelBuilder()
    y = erf_a(b, b.input("x", np.float32, (3, 17)))
    b.output(y, next(node.output[0] for node in b.nodes if node.op_type == inside))
    assert graph.census(check(b, FEEDS))["gelu"] == 0
