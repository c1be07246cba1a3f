"""The whole way from a model to a plan.

frontend.bind   the file's graph under these input shapes, shape arithmetic folded
passes.run      patterns to the operators that have kernels
lowering.lower  steps, layouts, kernel choice
plan.build      memory, addresses, the table the team walks
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from engine import passes
from engine.frontend import Model, bind, let_go
from engine.graph import Graph, Record
from engine.lowering import lower
from engine.lowering.builder import Machine
from engine.options import environment_flag
from engine.passes.padding import padding_input
from engine.plan.build import Plan, build
from engine.plan.steps import Program
from engine.plan.weights import WeightStore

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False, slots=True)
class Compiled:
    """A plan and what led to it; the program can be placed in memory again, for another stream."""

    plan: Plan
    graph: Graph
    record: Record
    supported: float
    program: Program


def compile_plan(model: Model, shapes: Shapes, machine: Machine, weights: WeightStore) -> Compiled:
    """Compile a model for these input shapes.

    Raises ModelError where its operators do not fit together, UnsupportedOpError where nobody can run one.
    """
    record = Record()
    graph = passes.run(bind(model, shapes), record, check=environment_flag("ENGINE_CHECK", default=False))
    program = lower(graph, machine, weights)
    if machine.skip_padding:
        program = replace(program, padding=padding_input(graph))
    plan = build(program, machine.members + machine.helpers)
    let_go(model.files)
    return Compiled(plan, graph, record, _supported(graph, plan), program)


def _supported(graph: Graph, plan: Plan) -> float:
    """Share of the graph's nodes that run in compiled steps or cost nothing."""
    nodes = sum(node.op not in ("Input", "Constant") for node in graph.nodes())
    on_host = sum(layer.kernel == "host" for layer in plan.layers)
    return 1.0 - on_host / nodes if nodes else 1.0
