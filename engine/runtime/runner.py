"""One request: inputs into the arena, stages in order, outputs out of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.errors import InputError
from engine.plan.build import HostCall, Plan, Segment
from engine.plan.steps import Array, Tensor
from engine.runtime.limits import Limits
from engine.runtime.ragged import arrange, rows_of
from engine.runtime.team import Team


def run_plan(plan: Plan, team: Team, arrays: Sequence[Array], limits: Limits | None = None) -> list[Array]:
    """Outputs of a plan for inputs that fit it, as new arrays. One request of a plan at a time.

    Raises InputError when an id is out of its table's range; DeadlineError, RequestCancelledError and WorkerError
    as Team.run.
    """
    if not plan.batch:
        found = _run(plan, team, arrays, limits)
        places = [place for _, place in plan.outputs]
        return [array.copy() if array is place else array for array, place in zip(found, places, strict=True)]
    return _run_in_parts(plan, team, arrays, limits)


def _run_in_parts(plan: Plan, team: Team, arrays: Sequence[Array], limits: Limits | None) -> list[Array]:
    items = len(plan.inputs[0][1])
    whole: list[Array] = []
    for start in plan.starts:
        found = _run(plan, team, [array[start : start + items] for array in arrays], limits, start)
        if not whole:
            whole = [np.empty((len(a) // items * plan.batch, *a.shape[1:]), a.dtype) for a in found]
        for array, part in zip(whole, found, strict=True):
            first = len(part) // items * start
            array[first : first + len(part)] = part
    return whole


def _run(
    plan: Plan, team: Team, arrays: Sequence[Array], limits: Limits | None, start: int = 0
) -> list[Array]:
    """Outputs, some of which lie in the plan: they are good until its next request. `start`: the first item."""
    if limits is not None:
        limits.check()
    # An earlier request may have ended before its fault was told.
    plan.fault[0] = 0
    for (_, place), array in zip(plan.inputs, arrays, strict=True):
        place[...] = array
    positions = None if plan.ragged is None else arrange(plan.ragged, team.parts)
    live: dict[Tensor, Array] = {}
    for stage in plan.stages:
        if isinstance(stage, Segment):
            team.run(plan, stage.address, limits)
        else:
            if limits is not None:
                limits.check()
            run_on_host(stage, live)
    if plan.fault[0]:
        _report_fault(plan, start)
    return [
        live[place] if isinstance(place, Tensor) else _result(plan, name, place, positions)
        for name, place in plan.outputs
    ]


def _result(plan: Plan, name: str, place: Array, positions: Array | None) -> Array:
    if plan.ragged is None or positions is None or name not in plan.ragged.results:
        return place
    return rows_of(plan.ragged, place, positions)


def run_on_host(call: HostCall, live: dict[Tensor, Array]) -> None:
    """One host step; values that no place in memory holds are in `live`, and its own are added."""
    inputs = [live[place] if isinstance(place, Tensor) else place for place in call.inputs]
    results = call.step.run(inputs)
    for place, result in zip(call.outputs, results, strict=True):
        if isinstance(place, Tensor):
            live[place] = result
        else:
            np.copyto(place, result.reshape(place.shape), casting="no")


def _report_fault(plan: Plan, start: int) -> None:
    ids = max(
        (place[0].size for _, place in plan.inputs if place.dtype.kind in "iu" and place.ndim), default=0
    )
    position = int(plan.fault[0]) - 1 + start * ids
    plan.fault[0] = 0
    message = (
        f"an id at position {position} is outside of the table it is looked up in. "
        "Where ids are tokens, check that the tokenizer and the model belong together."
    )
    raise InputError(message)
