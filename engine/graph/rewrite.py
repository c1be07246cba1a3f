"""Rewriting: rules look at the graph as it is, and their replacements are put in all at once.

A sweep asks every rule that is woken by a node's operator, over one unchanged graph with one count of uses.
Whatever the rules answer is equal to what it replaces, so answers of one sweep never disturb each other.
Sweeps repeat until no rule fires.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.errors import InternalError
from engine.graph.ir import Graph, Node, Value

Uses = Mapping[Value, int]
# What a rule answers: the value instead of the node's only output, or values instead of any values upstream.
Replacement = Value | Mapping[Value, Value] | None
Record = list[tuple[str, str]]

# Far above what a model needs: reaching it means that two rules undo each other.
MAX_STEPS = 200_000


@dataclass(frozen=True)
class Rule:
    """A rewrite woken by nodes of the operators `ops`; `apply(node, uses)` answers None for no match."""

    name: str
    ops: tuple[str, ...]
    apply: Callable[[Node, Uses], Replacement]


def rule(*ops: str) -> Callable[[Callable[[Node, Uses], Replacement]], Rule]:
    """Make a function `(node, uses) -> replacement` a rule for nodes of these operators."""

    def make(function: Callable[[Node, Uses], Replacement]) -> Rule:
        return Rule(function.__name__, ops, function)

    return make


def rewrite(
    graph: Graph, rules: Iterable[Rule], record: Record | None = None, limit: int = MAX_STEPS
) -> Graph:
    """Apply `rules` until none fires; `record` gains (rule, node name) for each firing.

    Raises InternalError naming the last rule when more than `limit` replacements were made.
    """
    woken: dict[str, list[Rule]] = defaultdict(list)
    for entry in rules:
        for op in entry.ops:
            woken[op].append(entry)
    steps: Record = [] if record is None else record
    start = len(steps)
    while True:
        replaced = _sweep(graph, woken, steps)
        if not replaced:
            return graph
        if len(steps) - start > limit:
            last, where = steps[-1]
            message = f"rules do not come to an end after {limit} steps; the last was {last} at {where!r}."
            raise InternalError(message)
        graph = substitute(graph, replaced)


def _sweep(graph: Graph, woken: Mapping[str, Sequence[Rule]], steps: Record) -> dict[Value, Value]:
    replaced: dict[Value, Value] = {}
    uses = graph.uses()
    for node in graph.nodes():
        for entry in woken.get(node.op, ()):
            answer = entry.apply(node, uses)
            if answer is None:
                continue
            pairs = {Value(node): answer} if isinstance(answer, Value) else dict(answer)
            # Two rules that both take over a shared value would each build on the other's discarded node.
            if any(old in replaced for old in pairs):
                continue
            _check_types(entry, node, pairs)
            replaced.update(pairs)
            steps.append((entry.name, node.name))
            break
    return replaced


def _check_types(entry: Rule, node: Node, pairs: Mapping[Value, Value]) -> None:
    for old, new in pairs.items():
        if old.type != new.type:
            message = f"rule {entry.name} at {node!r} answers {new.type} for {old.type}; it must keep types."
            raise InternalError(message)


def substitute(graph: Graph, replaced: Mapping[Value, Value]) -> Graph:
    """`graph` with values exchanged wherever they are read, inside the new values too."""
    done: dict[Node, Node] = {}

    def final(value: Value) -> Value:
        while value in replaced:
            value = replaced[value]
        return value

    def rebuilt(value: Value) -> Value:
        value = final(value)
        return Value(done[value.node], value.index)

    stack = [final(value).node for value in graph.outputs[::-1]]
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        sources = [final(value).node for value in node.inputs if value is not None]
        waiting = [source for source in sources if source not in done]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        inputs = tuple(None if value is None else rebuilt(value) for value in node.inputs)
        done[node] = node if inputs == node.inputs else replace(node, inputs=inputs)
    return Graph(graph.inputs, tuple(rebuilt(value) for value in graph.outputs), graph.output_names)
