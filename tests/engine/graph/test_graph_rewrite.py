"""Rewriting to a fixed point: one view of the graph per sweep, all replacements at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import graph
from engine.errors import InternalError
from engine.graph import Node, Uses, Value, rule

F32 = np.dtype(np.float32)


@rule("Neg")
def drop_double_negation(node: Node, _uses: Uses) -> Value | None:
    inner = node.inputs[0]
    return inner.node.inputs[0] if inner is not None and inner.op == "Neg" else None


@rule("Neg")
def back_and_forth(node: Node, _uses: Uses) -> Value | None:
    return graph.node("Neg", *node.inputs, name=node.name)[0]


@rule("Neg")
def wrong_type(_node: Node, _uses: Uses) -> Value | None:
    return graph.constant(np.zeros(7, np.float32))


def inputs() -> Value:
    return graph.graph_input("x", F32, (2,))


def negated(x: Value, times: int) -> Value:
    for _ in range(times):
        x = graph.node("Neg", x, name="n")[0]
    return x


@given(st.integers(0, 30))
def test_rules_run_to_their_end(times: int) -> None:
    x = inputs()
    after = graph.rewrite(graph.Graph((x,), (negated(x, times),), ("y",)), [drop_double_negation])
    assert graph.census(after) == ({"Neg": 1} if times % 2 else {})


def test_firings_are_recorded_with_rule_and_node() -> None:
    x = inputs()
    record: graph.Record = []
    graph.rewrite(graph.Graph((x,), (negated(x, 2),), ("y",)), [drop_double_negation], record)
    assert record == [("drop_double_negation", "n")]


def test_graph_without_matches_is_the_same_object() -> None:
    x = inputs()
    before = graph.Graph((x,), (negated(x, 1),), ("y",))
    assert graph.rewrite(before, [drop_double_negation]) is before


def test_rules_that_never_end_are_stopped_and_named() -> None:
    x = inputs()
    with pytest.raises(InternalError, match="back_and_forth"):
        graph.rewrite(graph.Graph((x,), (negated(x, 1),), ("y",)), [back_and_forth], limit=50)


def test_replacement_of_another_type_is_refused() -> None:
    x = inputs()
    with pytest.raises(InternalError, match="wrong_type"):
        graph.rewrite(graph.Graph((x,), (negated(x, 1),), ("y",)), [wrong_type])


def test_one_rule_may_replace_several_values() -> None:
    @rule("Sin")
    def exchange(node: Node, _uses: Uses) -> Mapping[Value, Value] | None:
        below = node.inputs[0]
        if below is None or below.op != "Neg":
            return None
        absolute = graph.node("Abs", *below.node.inputs)[0]
        return {below: absolute, node[0]: graph.node("Cos", absolute)[0]}

    x = inputs()
    y = negated(x, 1)
    whole = graph.Graph((x,), (graph.node("Sin", y)[0], graph.node("Exp", y)[0]), ("s", "e"))
    after = graph.rewrite(whole, [exchange])
    assert graph.census(after) == {"Abs": 1, "Cos": 1, "Exp": 1}
    assert after.outputs[1].node.inputs[0] == after.outputs[0].node.inputs[0]


def test_shared_nodes_stay_shared() -> None:
    x = inputs()
    y = negated(x, 3)
    whole = graph.Graph((x,), (graph.node("Sin", y)[0], graph.node("Cos", y)[0]), ("s", "c"))
    after = graph.rewrite(whole, [drop_double_negation])
    assert graph.census(after) == {"Neg": 1, "Sin": 1, "Cos": 1}


def test_large_graph_takes_linear_work() -> None:
    """Nodes are visited once a sweep, whatever the number of readers."""
    x = inputs()
    shared = negated(x, 2)
    outputs = tuple(graph.node("Add", shared, shared)[0] for _ in range(3000))
    record: graph.Record = []
    after = graph.rewrite(
        graph.Graph((x,), outputs, tuple(map(str, range(3000)))), [drop_double_negation], record
    )
    assert len(record) == 1
    assert graph.census(after) == {"Add": 3000}
