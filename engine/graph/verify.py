"""Whether a graph is legal, asked after every family of passes, so that a wrong rewrite is caught there."""

from __future__ import annotations

from engine.errors import InternalError
from engine.graph.ir import Graph, Node, TensorType
from engine.graph.ops import OPS, infer


def verify(graph: Graph) -> None:
    """Check that every node fits its operator: arity, dtypes, shapes, attributes, and types as declared.

    Raises InternalError naming the first node that does not, with the nodes before and after it.
    """
    if len(graph.outputs) != len(graph.output_names):
        message = f"the graph has {len(graph.outputs)} outputs and {len(graph.output_names)} names."
        raise InternalError(message)
    nodes = graph.nodes()
    sources = {value.node for value in graph.inputs}
    for place, node in enumerate(nodes):
        reason = _fault(node, sources)
        if reason is not None:
            around = "\n".join(
                f"  {'>' if other is node else ' '} {other!r}"
                for other in nodes[max(place - 5, 0) : place + 6]
            )
            message = f"{node!r} is not legal: {reason}. Around it:\n{around}"
            raise InternalError(message)


def _fault(node: Node, sources: set[Node]) -> str | None:
    if any(value is not None and value.index >= len(value.node.types) for value in node.inputs):
        return "it reads an output that does not exist"
    if node.op == "Input":
        return None if node in sources else "it is an input that the graph does not list"
    if node.op == "Constant":
        array = node.attrs["value"]
        held = TensorType(array.dtype, array.shape)
        return None if node.types == (held,) else f"it holds {held}"
    if node.op == "foreign":
        return None if callable(node.attrs.get("run")) else "a foreign node must bring what runs it"
    if node.op not in OPS:
        return f"there is no operator {node.op!r}"
    return _type_fault(node)


def _type_fault(node: Node) -> str | None:
    wanted, optional = OPS[node.op].attributes, OPS[node.op].optional
    if wanted is not None and not wanted <= node.attrs.keys() <= wanted | optional:
        return f"its attributes should be {', '.join(sorted(wanted))}"
    try:
        expected = infer(node.op, node.attrs, node.inputs)
    except ValueError as error:
        return str(error)
    except KeyError as error:
        return f"it lacks the attribute {error}"
    if expected != node.types:
        return f"its types should be {', '.join(map(str, expected))}"
    return None
