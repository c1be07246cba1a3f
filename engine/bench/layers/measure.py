"""Each step of a plan as a request of its own through the team, in the order of the walk.

A step is found with the cache as its neighbours leave it; rounds over all steps take turns with whole requests
and with register loops. Of the rounds the middle half is kept, by their sums, and averaged: medians of single steps
would leave out what disturbs one step a round, and not add up. A whole request pays once what each step pays here,
the price of a request: that of one without steps, timed in the same rounds, is subtracted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from engine.api.engine import Engine
from engine.calibration.product import peak_of, peak_operations, timed_peak
from engine.compiler import Compiled
from engine.errors import OptionError
from engine.kernels.row import Array, aligned
from engine.plan.build import HostCall, Plan, Segment
from engine.plan.steps import Fixed, Layer, Location, Record, Step, Tensor
from engine.plan.table import REQUEST_WORDS
from engine.runtime.runner import run_on_host, run_plan
from engine.runtime.team import Team

FIRST, LAST = 4, 5
# What an embedding reads of its table is as much as it writes.
_LOOKS_UP = ("embedding",)
# What the names of all products with constant weights end with.
_MULTIPLIES = "linear"


@dataclass(frozen=True, slots=True)
class StepTime:
    """One step: `operations` 2 a multiply-add, zeros counted; None where nothing is multiplied or it is not known.

    bytes_read   activations and weights as they lie in memory
    peak         operations a second of the register loop of its operand, on all cores; None without operations
    """

    layer: Layer
    seconds: float
    bytes_read: int
    operations: int | None
    peak: float | None

    @property
    def operations_per_second(self) -> float | None:
        return None if self.operations is None else self.operations / self.seconds

    @property
    def share_of_peak(self) -> float | None:
        """Above 1 where zeros are skipped."""
        rate = self.operations_per_second
        return None if rate is None or self.peak is None else rate / self.peak


@dataclass(frozen=True, slots=True)
class Profile:
    """All steps in order, and whole requests of the same run, in seconds."""

    steps: tuple[StepTime, ...]
    whole: tuple[float, ...]
    batch_size: int
    cores: int

    @property
    def seconds(self) -> float:
        """Median of the whole requests."""
        return statistics.median(self.whole)

    @property
    def sum_of_steps(self) -> float:
        return sum(step.seconds for step in self.steps)


def profile(engine: Engine, inputs: list[Array], rounds: int = 20, warmup: int = 5) -> Profile:
    """Time every step of the plan that these inputs take.

    Raises OptionError for fewer than one round, and what Engine.run raises for inputs that do not fit.
    """
    if rounds < 1 or warmup < 0:
        message = f"rounds must be at least 1 and warmup at least 0; got {rounds} and {warmup}."
        raise OptionError(message)
    engine.run(inputs)
    team, found = engine._streams.teams[0], engine._plans.find(tuple(a.shape for a in inputs))  # noqa: SLF001
    plan, compiled = found.plans[0], found.compiled[0]
    operands = {step.layer.name: _operand(step.layer) for step in plan.steps}
    loops = {name: timed_peak(peak_of(name), team).run for name in set(operands.values())}
    walks: list[list[float]] = []
    whole: list[float] = []
    peaks: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(warmup + rounds):
        price = _price(plan, team)
        taken = [max(seconds - price, 0.0) * len(plan.starts) for seconds in _walk(plan, team)]
        whole_now = _timed(lambda: run_plan(plan, team, inputs))
        rates = {name: peak_operations(peak_of(name), team) / _timed(run) for name, run in loops.items()}
        if turn < warmup:
            continue
        walks.append(taken)
        whole.append(whole_now)
        for name, rate in rates.items():
            peaks[name].append(rate)
    needed = _operations(compiled, plan)
    steps = []
    for step, seconds, operations in zip(plan.steps, typical(walks), needed, strict=True):
        peak = None if operations is None else statistics.median(peaks[_operand(step.layer)])
        read = _bytes_read(step) * len(plan.starts) if isinstance(step, Step) else 0
        steps.append(StepTime(step.layer, seconds, read, operations, peak))
    batch = inputs[0].shape[0] if inputs and inputs[0].ndim else 1
    return Profile(tuple(steps), tuple(whole), batch, engine.num_cores)


def typical(walks: list[list[float]]) -> list[float]:
    """Mean seconds of each step over the middle half of the walks, ordered by their sums."""
    edge = (len(walks) - 1) // 4
    middle = sorted(walks, key=sum)[edge : len(walks) - edge]
    return [statistics.fmean(step) for step in zip(*middle, strict=True)]


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _walk(plan: Plan, team: Team) -> Iterator[float]:
    """Seconds of each step, in the plan's order."""
    live: dict[Tensor, Array] = {}
    for stage in plan.stages:
        if isinstance(stage, HostCall):
            start = time.perf_counter()
            run_on_host(stage, live)
            yield time.perf_counter() - start
        else:
            for request in _requests(stage):
                start = time.perf_counter()
                team.run(plan, int(request.ctypes.data))
                yield time.perf_counter() - start


def _price(plan: Plan, team: Team, times: int = 15) -> float:
    """Seconds of a request that has no steps; host calls have their own, much higher one."""
    request = next((next(_requests(stage)) for stage in plan.stages if isinstance(stage, Segment)), None)
    if request is None:
        return 0.0
    request[LAST] = request[FIRST]
    return statistics.median(_timed(lambda: team.run(plan, int(request.ctypes.data))) for _ in range(times))


def _requests(segment: Segment) -> Iterator[Array]:
    for step in range(segment.first, segment.last):
        request = aligned(REQUEST_WORDS, np.int64)
        request[:] = segment.request
        request[FIRST], request[LAST] = step, step + 1
        yield request


def _operand(layer: Layer) -> str:
    return "u8" if layer.op.startswith("quantized") else "f32"


def _operations(compiled: Compiled, plan: Plan) -> list[int | None]:
    """Of each step: products of a constant with the lanes of its result; its layout changes have none."""
    known: dict[str, int] = {}
    for node in compiled.graph.nodes():
        if not node.op.endswith(_MULTIPLIES):
            continue
        x, w = (None if value is None else value.type.shape for value in node.inputs[:2])
        if x and w:
            known[node.name] = 2 * int(np.prod(x[:-1])) * int(np.prod(w))
    return [known.get(layer.name) if layer.op.endswith(_MULTIPLIES) else None for layer in plan.layers]


def _bytes_read(step: Step) -> int:
    read = sum(buffer.size for buffer in step.reads)
    if step.layer.op in _LOOKS_UP:
        return read + sum(buffer.size for buffer in step.writes)
    return read + sum(array.nbytes for array in {id(a): a for a in _constants(step.args)}.values())


def _constants(record: Record) -> Iterator[Array]:
    for value in record.fields.values():
        if isinstance(value, Record):
            yield from _constants(value)
        elif isinstance(value, Location) and isinstance(value.place, Fixed):
            yield value.place.array
