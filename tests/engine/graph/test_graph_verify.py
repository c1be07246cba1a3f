"""Illegal nodes are found where they are, with their neighbours in the message."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine import graph
from engine.errors import InternalError
from engine.graph import Node, TensorType, Value

F32 = np.dtype(np.float32)
X = graph.graph_input("x", F32, (2, 3))
W = graph.constant(np.ones((3, 4), np.float32))
ROW = TensorType(F32, (2, 4))
LINEAR: dict[str, Any] = {"weight_axes": "km", "activation": "none", "store": None}


def of(node: Node, index: int = 0) -> graph.Graph:
    return graph.Graph((X,), (Value(node, index),), ("y",))


ILLEGAL = [
    (Node("Neg", (X,), (TensorType(F32, (3, 2)),)), "types should be"),
    (Node("Neg", (X, X), (X.type,)), "takes 1 to 1 inputs"),
    (Node("Add", (X, graph.constant(np.ones(3))), (X.type,)), "different dtypes"),
    (Node("NoSuchOp", (X,), (X.type,)), "no operator"),
    (Node("Reshape", (X,), (TensorType(F32, (5,)),), {"shape": (5,)}), "cannot reshape"),
    (Node("Reshape", (X,), (TensorType(F32, (6,)),)), "lacks the attribute"),
    (Node("Constant", (), (X.type,), {"value": np.ones(3, np.float32)}), "it holds"),
    (Node("foreign", (X,), (X.type,)), "must bring what runs it"),
    (Node("Input", (), (X.type,), {}, "other"), "does not list"),
    (Node("linear", (X, W), (ROW,), {**LINEAR, "weight_axes": "mk"}), "does not fit"),
    (Node("linear", (X, W), (ROW,), {**LINEAR, "activation": "sine"}), "no activation"),
    (Node("linear", (X, W, W), (ROW,), LINEAR), "input 2 must be"),
    (Node("linear", (X, W, None, X), (ROW,), LINEAR), "residual must be"),
    (Node("linear", (X, graph.node("Neg", W)[0]), (ROW,), LINEAR), "must be constant"),
    (Node("linear", (X, W), (ROW,), {"weight_axes": "km", "activation": "none"}), "attributes should be"),
    (Node("linear", (X, W), (ROW,), {**LINEAR, "colour": 1}), "attributes should be"),
    (Node("Neg", (Value(X.node, 1),), (X.type,)), "does not exist"),
]


@pytest.mark.parametrize(
    ("node", "reason"), ILLEGAL, ids=lambda value: value if isinstance(value, str) else value.op
)
def test_illegal_node_is_named(node: Node, reason: str) -> None:
    with pytest.raises(InternalError, match=reason) as caught:
        graph.verify(of(node))
    assert node.op in str(caught.value)


def test_message_shows_the_neighbours() -> None:
    before = graph.node("Sin", X, name="sine")[0]
    with pytest.raises(InternalError, match="'sine'"):
        graph.verify(of(Node("Neg", (before,), (TensorType(F32, (1,)),))))


def test_outputs_and_names_must_agree() -> None:
    with pytest.raises(InternalError, match="names"):
        graph.verify(graph.Graph((X,), (X,), ()))


def test_legal_graph_passes() -> None:
    graph.verify(of(graph.node("linear", X, W, **LINEAR)))


def test_evaluating_an_unknown_operator_names_it() -> None:
    with pytest.raises(InternalError, match="NoSuchOp"):
        graph.evaluate_node(Node("NoSuchOp", (X,), (X.type,)), [np.zeros((2, 3), np.float32)])
