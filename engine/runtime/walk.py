"""Walking a plan: every member of the team goes through the same table of steps and takes tiles.

    step table (64 bytes a step)                        counters (64 bytes a step)
      kernel | args | tiles | grain | wait from | ...      claim: generation << 32 | next tile
                                                           done:  tiles finished

A member claims tiles by compare-and-swap on `claim`, which also holds the request's generation: a
member that overslept a whole request finds another generation there and leaves, and can never take a
tile of the next one. A barrier waits for tiles, not for members: who comes late has missed nothing.
"""

from __future__ import annotations

from typing import Any

from engine.jit import inner, instruction, ir
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import read_i64
from engine.machine.atomics import add_word, exchange_word, load_word, relax
from engine.machine.waiting import give_way
from engine.plan.table import ARGS, CLAIM, DONE, GRAIN, KERNEL, ROW, TILES, WAIT_FROM

FINISHED, STALE = 0, 1
# Looks at a counter before a waiting member yields its core.
SPINS = 4096


def _call(builder: ir.IRBuilder, kernel: Any, *arguments: Any) -> None:
    long = ir.IntType(64)
    function = builder.inttoptr(kernel, ir.FunctionType(ir.VoidType(), [long] * 4).as_pointer())
    builder.call(function, arguments)


# Operands: address of the kernel, args, first tile, last tile + 1, scratch.
call_kernel = instruction("void", ("i64",) * 5, _call)


@inner
def wait_for_steps(table: int, counters: int, first: int, last: int, generation: int) -> int:
    """Wait until all tiles of steps first .. last - 1 are finished. FINISHED, or STALE when the request is over."""
    for step in range(first, last):
        tiles = read_i64(table + step * ROW + TILES)
        counter = counters + step * ROW
        looks = 0
        while load_word(counter + DONE) < tiles:
            if load_word(counter + CLAIM) >> 32 != generation:
                return STALE
            looks += 1
            if looks < SPINS:
                relax()
            else:
                give_way()
    return FINISHED


@inner
def take_tiles(row: int, counter: int, generation: int, scratch: int) -> int:
    """Take tiles of one step until none is left. FINISHED, or STALE when the request is over."""
    kernel, args = read_i64(row + KERNEL), read_i64(row + ARGS)
    tiles, grain = read_i64(row + TILES), read_i64(row + GRAIN)
    while True:
        claim = load_word(counter + CLAIM)
        if claim >> 32 != generation:
            return STALE
        begin = claim & 0xFFFFFFFF
        if begin >= tiles:
            return FINISHED
        end = least(begin + grain, tiles)
        if exchange_word(counter + CLAIM, claim, claim + end - begin) != 0:
            call_kernel(kernel, args, begin, end, scratch)
            add_word(counter + DONE, end - begin)


@inner
def walk_step(table: int, counters: int, step: int, generation: int, scratch: int) -> int:
    """Wait for what this step needs, then take its tiles."""
    row = table + step * ROW
    wait_from = read_i64(row + WAIT_FROM)
    if wait_from >= 0 and wait_for_steps(table, counters, wait_from, step, generation) == STALE:
        return STALE
    return take_tiles(row, counters + step * ROW, generation, scratch)
