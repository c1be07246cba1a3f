"""Plans whose results tell whether every tile ran once, in time; and teams of more members than there are cores."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import Kernel, kernel, record
from engine.kernels.simd.memory import read_i64, write_i64
from engine.machine.atomics import add_word, load_word
from engine.machine.topology import Core, topology
from engine.machine.waiting import give_way
from engine.plan.build import build
from engine.plan.steps import Buffer, Layer, Location, Program, Record, Step, Tensor
from engine.runtime.team import Team

ARGS = np.dtype([("x", np.int64), ("y", np.int64), ("count", np.int64)])
args_of = record(ARGS)


@kernel("test_sum_of_previous")
def sum_of_previous(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """y[tile] += sum(x) + 1: right only when every tile of the step before is finished, and run once."""
    a = args_of(args)
    total = 1
    for i in range(a.count):
        total += read_i64(a.x + 8 * i)
    for tile in range(tile_begin, tile_end):
        write_i64(read_i64(a.y + 8 * tile) + total, a.y + 8 * tile)


@kernel("test_wait_for_word")
def wait_for_word(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    a = args_of(args)
    while load_word(a.x) == 0:
        give_way()
    add_word(a.y, tile_end - tile_begin)


def chain(steps: int, tiles: int, body: Kernel = sum_of_previous) -> Program:
    places = [Buffer(8 * tiles, permanent=True) for _ in range(steps + 1)]
    rows = []
    for i in range(steps):
        fields: dict[str, Any] = {"x": Location(places[i]), "y": Location(places[i + 1]), "count": tiles}
        layer = Layer(f"step {i}", "test", body.name)
        rows.append(Step(layer, body, Record(ARGS, fields), tiles, 1, 0, (places[i],), (places[i + 1],)))
    tensors = [Tensor(np.dtype(np.int64), (tiles,), Location(place)) for place in places]
    outputs = tuple((f"y{i}", tensor) for i, tensor in enumerate(tensors[1:]))
    return Program((("x", tensors[0]),), outputs, tuple(rows), Location(Buffer(64, permanent=True)))


def expected(steps: int, tiles: int) -> list[int]:
    values, value = [], 0
    for _ in range(steps):
        value = 1 + tiles * value
        values.append(value)
    return values


def built(program: Program, members: int) -> Any:
    """A plan, of any type: its outputs are arrays here, as no step runs on the host."""
    return build(program, members)


def run_chain(team: Team, plan: Any) -> None:
    for _, place in plan.outputs:
        place[...] = 0
    team.run(plan, plan.stages[0].address)


def cores(count: int) -> tuple[Core, ...]:
    """More members than cores, where the machine is small: late members are what is tested."""
    here = topology().cores
    return tuple(here[i % len(here)] for i in range(count))
