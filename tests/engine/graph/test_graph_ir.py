"""The graph itself: order, uses, text, evaluation of what is fed."""

from __future__ import annotations

import numpy as np
import pytest

from engine import graph
from engine.errors import TensorError

F32 = np.dtype(np.float32)


def chain(length: int) -> graph.Graph:
    x = graph.graph_input("x", F32, (2,))
    y = x
    for _ in range(length):
        y = graph.node("Neg", y)[0]
    return graph.Graph((x,), (y,), ("y",))


def test_nodes_come_after_their_inputs() -> None:
    x = graph.graph_input("x", F32, (2,))
    a, b = graph.node("Sin", x)[0], graph.node("Cos", x)[0]
    whole = graph.Graph((x,), (graph.node("Add", a, b)[0], a), ("y", "a"))
    nodes = whole.nodes()
    assert len(nodes) == 4
    for place, node in enumerate(nodes):
        assert all(value is None or value.node in nodes[:place] for value in node.inputs)
    assert whole.uses()[a] == 2


def test_graph_deeper_than_the_stack_is_walked() -> None:
    deep = chain(5000)
    graph.verify(deep)
    x = np.array([1, 2], np.float32)
    np.testing.assert_array_equal(graph.evaluate(deep, {"x": x})[0], x)


def test_nothing_unreached_is_live() -> None:
    x = graph.graph_input("x", F32, (2,))
    graph.node("Sin", x)
    assert graph.census(graph.Graph((x,), (graph.node("Cos", x)[0],), ("y",))) == {"Cos": 1}


def test_text_names_inputs_numbers_constants_and_outputs() -> None:
    x = graph.graph_input("tokens", F32, (2, 3))
    scaled = graph.node("Mul", x, graph.constant(np.asarray(0.5, np.float32)), name="half")[0]
    rows = graph.node("Add", scaled, graph.constant(np.ones(3, np.float32)))[0]
    text = graph.show(graph.Graph((x,), (graph.node("Reshape", rows, shape=(6,))[0],), ("logits",)))
    assert text.splitlines() == [
        "%0 Input() : float32[2, 3]  tokens",
        "%1 Mul(%0, 0.5) : float32[2, 3]  half",
        "%2 Add(%1, const float32[3]) : float32[2, 3]",
        "%3 Reshape(%2) shape=(6) : float32[6]",
        "output logits = %3",
    ]


@pytest.mark.parametrize(
    "feeds",
    [{}, {"x": np.zeros(3, np.float32)}, {"x": np.zeros(2, np.float64)}],
    ids=["missing", "shape", "dtype"],
)
def test_feeds_that_do_not_fit_are_refused(feeds: dict[str, np.ndarray]) -> None:
    with pytest.raises(TensorError, match="'x'"):
        graph.evaluate(chain(1), feeds)


def test_value_read_twice_by_one_node_is_kept_until_then() -> None:
    x = graph.graph_input("x", F32, (2,))
    y = graph.node("Neg", x)[0]
    whole = graph.Graph((x,), (graph.node("Mul", y, y)[0],), ("y",))
    np.testing.assert_array_equal(graph.evaluate(whole, {"x": np.array([2, 3], np.float32)})[0], [4, 9])


def test_unknown_shape_is_an_error_to_ask_for() -> None:
    kind = graph.TensorType(F32, None)
    value = graph.Node("foreign", (), (kind,), {"run": list})[0]
    assert str(kind) == "float32[?]"
    with pytest.raises(ValueError, match="depends on data"):
        _ = value.shape


def test_types_follow_through_unknown_shapes() -> None:
    value = graph.Node("foreign", (), (graph.TensorType(F32, None),), {"run": list})[0]
    assert graph.node("Neg", value).types == (graph.TensorType(F32, None),)
