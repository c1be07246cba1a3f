"""The whole way from a model to a plan.

frontend.bind   the file's graph under these input shapes, shape arithmetic folded
passes.run      patterns to the operators that have kernels
lowering.lower  steps, layouts, kernel choice
plan.build      memory, addresses, the table the team walks

Between passes and lowering a batch may be cut into parts, which are computed one after the other: what a few items need
stays in the caches, what many need goes through memory (docs/scheduling.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from engine import passes
from engine.errors import ModelError, TensorError, UnsupportedOpError
from engine.frontend import Model, bind, let_go
from engine.graph import Graph, Record
from engine.lowering import lower
from engine.lowering.machine import Machine
from engine.machine.topology import l2_bytes, topology
from engine.options import environment_flag
from engine.passes.padding import padding_input
from engine.passes.parts import held_bytes, items_apart
from engine.plan.build import Plan, build
from engine.plan.steps import Program
from engine.plan.weights import WeightStore

Shapes = Mapping[str, tuple[int, ...]]
# By measurements: half as much is slower where items have few lanes, twice as much where weights are sparse.
L2S = 3
# Items computed over items asked for, at most, where a batch is cut.
MOST_TWICE = 1.1


@dataclass(frozen=True, eq=False, slots=True)
class Compiled:
    """A plan and what led to it; the program can be placed in memory again, for another stream.

    graph, record   of the whole batch, where the plan is that of a part of it
    """

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
    bound = bind(model, shapes)
    graph = _passed(bound, record)
    batch, part = _part(model, bound, graph, machine.part_bytes)
    padding = padding_input(part) if machine.skip_padding else None
    share = (part.inputs[0].shape[0], batch) if batch else (1, 1)
    program = replace(lower(part, replace(machine, share=share), weights), padding=padding, batch=batch)
    plan = build(program, machine.members + machine.helpers)
    let_go(model.files)
    return Compiled(plan, graph, record, _supported(part, plan), program)


def part_bytes() -> int:
    """Bytes that the largest step of a part of a batch should read and write: three times what the L2s hold.

    Those of all cores that this process may use: how many of them an engine has changes no result, so it changes no part.
    """
    if not environment_flag("ENGINE_CUT_BATCHES", default=True):
        return 0
    return l2_bytes() * topology().available * L2S


def _passed(bound: Graph, record: Record) -> Graph:
    return passes.run(bound, record, check=environment_flag("ENGINE_CHECK", default=False))


def _part(model: Model, bound: Graph, graph: Graph, most: int) -> tuple[int, Graph]:
    """Items of a request, and the graph of so many of them as are computed at once.

    most   bytes that the largest step of a part should read and write; 0 leaves every batch whole
    """
    batches = {value.shape[:1] for value in graph.inputs}
    batch = batches.pop() if len(batches) == 1 else ()
    if not batch or batch[0] < 2 or not most:
        return 0, graph
    items = part_of(batch[0], most * batch[0] // max(held_bytes(graph), 1))
    if items == batch[0]:
        return 0, graph
    inputs = tuple(replace(entry, dims=(items, *entry.dims[1:])) for entry in model.inputs)
    shapes = {value.node.name: (items, *value.shape[1:]) for value in graph.inputs}
    try:
        part = bind(replace(model, inputs=inputs), shapes)
    except (ModelError, TensorError, UnsupportedOpError):
        # Somewhere in the file the batch is written down.
        return 0, graph
    return (batch[0], _passed(part, Record())) if items_apart(bound, part) else (0, graph)


def part_of(batch: int, most: int) -> int:
    """Items of a part, at most `most` and at least one; `batch` where parts would cost more than they save.

    The last part ends with the batch and takes in items of the one before it: so much is computed twice.
    """
    most = max(most, 1)
    if batch <= most:
        return batch
    computed = {items: -(-batch // items) * items for items in range(-(-most // 3), most + 1)}
    items = min(computed, key=lambda items: (computed[items], -items))
    return items if computed[items] <= MOST_TWICE * batch else batch


def _supported(graph: Graph, plan: Plan) -> float:
    """Share of the graph's nodes that run in compiled steps or cost nothing."""
    nodes = sum(node.op not in ("Input", "Constant") for node in graph.nodes())
    on_host = sum(layer.kernel == "host" for layer in plan.layers)
    return 1.0 - on_host / nodes if nodes else 1.0
