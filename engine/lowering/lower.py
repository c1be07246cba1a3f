"""A graph to a program: every node becomes a compiled step, a view, or a host step with a reason."""

from __future__ import annotations

import functools

from engine.errors import InternalError
from engine.graph.collect import collect
from engine.graph.evaluate import evaluate_node
from engine.graph.ir import Graph, Node, Value
from engine.lowering import ops
from engine.lowering.builder import Builder, OpLowering
from engine.lowering.choose import check_family, measured_rates
from engine.lowering.machine import Machine
from engine.lowering.ops._expanded import private_products
from engine.lowering.side_by_side import reserve
from engine.lowering.stored_bytes import store_bytes
from engine.lowering.stored_planes import drop_unread
from engine.options import environment_option
from engine.plan.steps import HostStep, Layer, Location, Program, Tensor
from engine.plan.weights import WeightStore

_SOURCES = ("Input", "Constant")


@functools.cache
def lowerings() -> dict[str, OpLowering]:
    """Every operator's lowering, from the modules of `lowering.ops`."""
    found: dict[str, OpLowering] = {}
    for row in collect(ops, "LOWERINGS", OpLowering):
        if row.op in found:
            message = f"two lowerings of {row.op}"
            raise InternalError(message)
        found[row.op] = row
    return found


def lower(graph: Graph, machine: Machine, weights: WeightStore) -> Program:
    """Steps, layouts and kernels for a graph under fixed shapes.

    Raises OptionError when ENGINE_KERNEL names no family.
    """
    builder = Builder(machine, weights, _forced_family(machine), measured_rates())
    inputs = tuple((value.node.name, builder.new_rows(value, permanent=True)) for value in graph.inputs)
    reserve(graph, builder)
    builder.private |= private_products(graph)
    for node in graph.nodes():
        if node.op not in _SOURCES:
            _lower_node(node, builder)
    outputs = tuple(
        (name, builder.rows(value)) for name, value in zip(graph.output_names, graph.outputs, strict=True)
    )
    results = [tensor for _, tensor in outputs]
    drop_unread(builder, results)
    return Program(inputs, outputs, store_bytes(builder.steps, results), Location(builder.fault))


def _forced_family(machine: Machine) -> str | None:
    if machine.family is not None:
        return machine.family
    setting = environment_option("ENGINE_KERNEL")
    return None if setting is None else check_family(setting.value, setting.name)


def _lower_node(node: Node, builder: Builder) -> None:
    row = lowerings().get(node.op)
    if any(kind.shape is None for kind in node.types) or _reads_unknown(node):
        reason = "its shape depends on data"
    elif any(
        0 in (kind.shape or ()) for kind in (*node.types, *(v.type for v in node.inputs if v is not None))
    ):
        reason = "it handles an empty tensor"
    elif row is None:
        reason = f"no kernel for {node.attrs.get('onnx_op', node.op)}"
    else:
        answer = row.lower(node, builder)
        if answer is None:
            return
        reason = answer
    _host(node, builder, reason)


def _reads_unknown(node: Node) -> bool:
    return any(value is not None and value.type.shape is None for value in node.inputs)


def _host(node: Node, builder: Builder, reason: str) -> None:
    """The node as a step that NumPy or the reference runs."""
    inputs = tuple(None if value is None else builder.rows(value) for value in node.inputs)
    outputs = tuple(_host_output(node[i], builder) for i in range(len(node.types)))
    op = str(node.attrs.get("onnx_op", node.op))
    builder.steps.append(
        HostStep(
            Layer(node.name, op, "host", 1, None, reason),
            functools.partial(evaluate_node, node),
            inputs,
            outputs,
        )
    )


def _host_output(value: Value, builder: Builder) -> Tensor:
    if value.type.shape is not None:
        return builder.new_rows(value)
    tensor = Tensor(value.dtype, None, None)
    builder.tensors[value] = tensor
    return tensor
