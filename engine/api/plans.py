"""The plans of one engine: one program a set of input shapes, one place in memory a stream.

shapes -> node -> Compiled     weights packed once a memory node
       -> stream -> Plan       its own arena and counters: streams never wait for each other
"""

from __future__ import annotations

import functools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from engine.api.arguments import Dims, log
from engine.compiler import Compiled, compile_plan
from engine.errors import ClosedError
from engine.frontend import Model
from engine.jit.code_cache import code_folder
from engine.lowering.machine import Machine
from engine.machine.topology import pin_this_thread
from engine.options import cache_directory
from engine.plan.build import Plan, build
from engine.plan.steps import Array
from engine.plan.weights import WeightStore
from engine.runtime.fork import renew_after_fork
from engine.runtime.ragged import narrow_width, used_lanes
from engine.runtime.streams import Streams

Shapes = tuple[Dims, ...]
PAGE = 4096
# How much the last request counts in the time that the next is expected to take.
_FRESH = 0.2


@dataclass(eq=False, slots=True)
class PlanSet:
    """Plans for one set of shapes.

    seconds   what a request took lately
    variants  for requests of few tokens: the same as for another machine, with narrow panels, or room for larger parts
    """

    compiled: dict[int, Compiled] = field(default_factory=dict)
    plans: dict[int, Plan] = field(default_factory=dict)
    seconds: float = 0.0
    variants: dict[Machine, PlanSet] = field(default_factory=dict)

    def took(self, seconds: float) -> None:
        """Remember the time of a request."""
        self.seconds += (seconds - self.seconds) * (_FRESH if self.seconds else 1.0)


def _roomier(machine: Machine, padding: float, parts: int) -> Machine:
    """The machine for a batch with so many times the lanes of its tokens: parts have two, four ... times the items.

    parts   that the batch has; no more room is made than for all of them in one
    """
    doubled = min(round(math.log2(padding)), (parts - 1).bit_length())
    return replace(machine, part_bytes=machine.part_bytes << doubled) if doubled else machine


@functools.cache
def _warn_without_cache() -> None:
    """Said once: nobody would know why every start takes so long. Who sets ENGINE_CACHE_DIR=off knows."""
    folder = cache_directory()
    if folder is not None and code_folder() is None:
        log.warning(
            "%s cannot be written: all kernels are compiled anew at every start. Set ENGINE_CACHE_DIR to a folder "
            "that can, or to off",
            folder,
        )


def _closed() -> ClosedError:
    return ClosedError("the engine was closed; make a new one.")


class Plans:
    """Compiles on demand and keeps the latest sets of shapes.

    stores   packed weights, one for each memory node of the streams
    limit    sets of shapes to keep
    """

    def __init__(
        self, model: Model, machine: Machine, stores: Sequence[WeightStore], streams: Streams, limit: int
    ) -> None:
        _warn_without_cache()
        self._model, self._machine, self._limit = model, machine, limit
        self._stores = tuple(stores)
        self._nodes = streams.nodes
        self._node_cpus = [
            {
                core.cpu
                for team, at in zip(streams.teams, self._nodes, strict=True)
                if at == node
                for core in team.cores
            }
            for node in range(len(stores))
        ]
        self._sets: OrderedDict[Shapes, PlanSet] = OrderedDict()
        self._closed = False
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Nobody compiles: at the beginning, and in a forked child."""
        self._kept, self._compiling = threading.Lock(), threading.RLock()

    def __len__(self) -> int:
        return len(self._sets)

    def find(self, shapes: Shapes) -> PlanSet:
        """The plans for these shapes; compiles for every stream when they are new. Raises ClosedError."""
        with self._kept:
            found = self._sets.get(shapes)
            if found is not None:
                if len(self._sets) > 1:
                    self._sets.move_to_end(shapes)
                return found
        with self._compiling:
            found, stores = self._sets.get(shapes), self._stores
            if found is not None:
                return found
            if self._closed:
                raise _closed()
            made = self._made(shapes, self._machine, stores)
            with self._kept:
                if self._closed:
                    raise _closed()
                self._sets[shapes] = made
                while len(self._sets) > self._limit:
                    self._sets.popitem(last=False)
            return made

    def fitting(self, inputs: Sequence[Array]) -> PlanSet:
        """The plans for these inputs: of their shapes, and where padding is left out of as many lanes as the tokens need.

        A sentence of twelve tokens in a plan of 128 takes a quarter of the time in a panel of sixteen lanes, and parts of a
        batch may have more items where these are short. Such plans are compiled when they are first wanted.
        """
        shapes = tuple([array.shape for array in inputs])
        plans, machine = self.find(shapes), self._machine
        plan = plans.plans[0]
        if plan.ragged is None:
            return plans
        mask = next(
            array for array, (_, place) in zip(inputs, plan.inputs, strict=True) if place is plan.ragged.mask
        )
        if plan.batch:
            padding = plan.ragged.lanes.pitch * len(mask) / max(used_lanes(mask), 1)
            machine = _roomier(machine, padding, len(plan.starts))
            plans = plans if machine is self._machine else self._variant(plans, shapes, machine)
            plan = plans.plans[0]
        width = None if plan.ragged is None or plan.batch else narrow_width(plan.ragged, mask)
        return plans if width is None else self._variant(plans, shapes, replace(machine, widest=width))

    def _variant(self, plans: PlanSet, shapes: Shapes, machine: Machine) -> PlanSet:
        found = plans.variants.get(machine)
        if found is not None:
            return found
        with self._compiling:
            stores = self._stores
            if self._closed:
                raise _closed()
            if machine not in plans.variants:
                plans.variants[machine] = self._made(shapes, machine, stores)
            return plans.variants[machine]

    def _made(self, shapes: Shapes, machine: Machine, stores: Sequence[WeightStore]) -> PlanSet:
        made = PlanSet()
        for stream, node in enumerate(self._nodes):
            made.plans[stream] = self._on_node(node, self._placed(made, shapes, node, machine, stores[node]))
        return made

    def _placed(
        self, made: PlanSet, shapes: Shapes, node: int, machine: Machine, store: WeightStore
    ) -> Callable[[], Plan]:
        def place() -> Plan:
            if node in made.compiled:
                return build(made.compiled[node].program, machine.members + machine.helpers)
            named = dict(zip(self._model.input_names, shapes, strict=True))
            made.compiled[node] = compile_plan(self._model, named, machine, store)
            return made.compiled[node].plan

        return place

    def _on_node(self, node: int, make: Callable[[], Plan]) -> Plan:
        """Memory comes from the node of the thread that touches it first."""
        if len(self._node_cpus) == 1:
            return make()
        made: list[Plan] = []
        failed: list[BaseException] = []

        def touch() -> None:
            pin_this_thread(*self._node_cpus[node])
            try:
                plan = make()
                # Each page of the arena, once: no caller on another node should be the first to write there.
                plan.memory[0][::PAGE] = 0
                made.append(plan)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=touch, name=f"sparselane-node-{node}")
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]

    def first(self) -> Compiled | None:
        """The oldest set that is kept."""
        with self._kept:
            return next((plans.compiled[0] for plans in self._sets.values()), None)

    def close(self) -> None:
        """Let all plans and weights go."""
        with self._kept:
            self._closed = True
            self._sets.clear()
            self._stores = ()
