"""The intermediate representation: nodes, what they mean, how they are checked, shown and rewritten."""

from __future__ import annotations

from engine.graph.evaluate import evaluate, evaluate_node
from engine.graph.ir import Array, Graph, Node, TensorType, Value, constant, graph_input, order
from engine.graph.ops import OPS, Op, infer, node
from engine.graph.rewrite import Record, Rule, Uses, rewrite, rule, substitute
from engine.graph.show import census, show
from engine.graph.verify import verify

__all__ = [
    "OPS",
    "Array",
    "Graph",
    "Node",
    "Op",
    "Record",
    "Rule",
    "TensorType",
    "Uses",
    "Value",
    "census",
    "constant",
    "evaluate",
    "evaluate_node",
    "graph_input",
    "infer",
    "node",
    "order",
    "rewrite",
    "rule",
    "show",
    "substitute",
    "verify",
]
