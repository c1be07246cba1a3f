"""Control flow that is decided while binding: the branch of an If, the turns of a Loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from engine.frontend.form import Values
from engine.frontend.model import Body, Model, Operation, unsupported_operation
from engine.graph import Value, constant, node

# Longer loops would make graphs that nobody wants to compile.
MAX_TURNS = 256

BindBody = Callable[[Body, Mapping[str, Value]], Values]


def take_branch(operation: Operation, condition: Value | None, model: Model, bind_body: BindBody) -> Values:
    """The outputs of an If whose condition is constant. Raises UnsupportedOpError when it is not."""
    if condition is None or condition.array is None:
        raise unsupported_operation(operation, model, "its condition depends on data")
    branch = "then_branch" if bool(condition.array.reshape(())) else "else_branch"
    return bind_body(operation.bodies[branch], {})


def unroll(
    operation: Operation, inputs: tuple[Value | None, ...], model: Model, bind_body: BindBody
) -> Values:
    """The outputs of a Loop whose turns are known: its body, bound once per turn.

    Raises UnsupportedOpError when trip count or condition depend on data, or there are more than MAX_TURNS.
    """
    count, keep_on, *carried = inputs
    body = operation.bodies["body"]
    if (count is not None and count.array is None) or (count is None and keep_on is None):
        raise unsupported_operation(operation, model, "its trip count depends on data")
    limit = MAX_TURNS + 1 if count is None or count.array is None else int(count.array.reshape(()))
    collected: list[list[Value]] = [[] for _ in range(len(body.outputs) - 1 - len(carried))]
    turn, going = 0, keep_on
    while turn < limit and _is_true(going, operation, model):
        if turn >= MAX_TURNS:
            raise unsupported_operation(operation, model, f"it takes more than {MAX_TURNS} turns")
        values = [constant(np.asarray(turn, np.int64)), going or constant(np.asarray(True)), *carried]
        fed = {name: value for name, value in zip(body.inputs, values, strict=True) if value is not None}
        going, *results = bind_body(body, fed)
        carried = list(results[: len(carried)])
        for scan, value in zip(collected, results[len(carried) :], strict=True):
            scan.append(node("Reshape", value, shape=(1, *value.shape))[0])
        turn += 1
    if any(not scan for scan in collected):
        raise unsupported_operation(operation, model, "it takes no turn, so what it collects has no shape")
    stacked = [scan[0] if len(scan) == 1 else node("Concat", *scan, axis=0)[0] for scan in collected]
    return (*(value for value in carried if value is not None), *stacked)


def _is_true(going: Value | None, operation: Operation, model: Model) -> bool:
    if going is None:
        return True
    if going.array is None:
        raise unsupported_operation(operation, model, "its condition depends on data")
    return bool(going.array.reshape(()))
