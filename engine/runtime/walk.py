"""Walking a plan: every member of the team goes through the same table of steps and takes tiles.

    step table (64 bytes a step)                        counters (64 bytes a step)
      kernel | args | tiles | grain | wait from | ...      done:   tiles finished
                                                           claims: generation << 32 | next tile, one a part

    tiles   |<----- part 0 ----->|<----- part 1 ----->| ...     a member begins with its own part, the same at
                                                                every step, and then helps the others

Tiles are in the order of lanes, so that a core finds in its own cache what it wrote a step earlier.
A member claims tiles by compare-and-swap on a claim, which also holds the request's generation: a
member that overslept a whole request finds another generation there and leaves, and can never take a
tile of the next one. A barrier waits for tiles, not for members: who comes late has missed nothing.
"""

from __future__ import annotations

from typing import Any

from engine.jit import inner, instruction, ir
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import read_i64
from engine.machine.atomics import add_word, exchange_word, load_word, relax
from engine.machine.waiting import give_way, nap, ticks, unpark
from engine.plan.table import ARGS, CLAIMS, DONE, GRAIN, KERNEL, ROW, TILES, WAIT_FROM
from engine.runtime.mailbox import PATIENCE, WAITERS

FINISHED, STALE, LATE = 0, 1, 2
# Looks at a counter before a waiting member yields its core, and yields before it sleeps. On an idle machine a
# wait ends while it spins; on a busy one, whoever sleeps gives its time to the member that is waited for.
SPINS, YIELDS = 1024, 2


def _call(builder: ir.IRBuilder, kernel: Any, *arguments: Any) -> None:
    long = ir.IntType(64)
    function = builder.inttoptr(kernel, ir.FunctionType(ir.VoidType(), [long] * 4).as_pointer())
    builder.call(function, arguments)


# Operands: address of the kernel, args, first tile, last tile + 1, scratch.
call_kernel = instruction("void", ("i64",) * 5, _call)


@inner
def _nap(counter: int, done: int, mailbox: int) -> None:
    """Sleep as long as the step's counter says `done`, a little while at most."""
    # Who finishes the step looks at this after its tiles are counted; the futex compares after this.
    add_word(mailbox + WAITERS, 1)
    nap(counter + DONE, done, mailbox + PATIENCE)
    add_word(mailbox + WAITERS, -1)


@inner
def wait_for_steps(
    table: int, counters: int, first: int, last: int, generation: int, mailbox: int, until: int
) -> int:
    """Wait until all tiles of steps first .. last - 1 are finished.

    FINISHED; STALE when the request is over; LATE when `until` ticks have passed, unless that is 0.
    """
    for step in range(first, last):
        tiles = read_i64(table + step * ROW + TILES)
        counter = counters + step * ROW
        looks, done = 0, load_word(counter + DONE)
        while done < tiles:
            if load_word(counter + CLAIMS) >> 32 != generation:
                return STALE
            looks += 1
            if looks < SPINS:
                relax()
            elif until != 0 and ticks() > until:
                return LATE
            elif looks < SPINS + YIELDS:
                give_way()
            else:
                _nap(counter, done, mailbox)
            done = load_word(counter + DONE)
    return FINISHED


@inner
def sleep_through_step(
    table: int, counters: int, step: int, generation: int, mailbox: int, until: int
) -> None:
    """Sleep until all tiles of a step are finished, the request is over or `until` ticks have passed."""
    tiles, counter = read_i64(table + step * ROW + TILES), counters + step * ROW
    done = load_word(counter + DONE)
    while done < tiles and load_word(counter + CLAIMS) >> 32 == generation and ticks() < until:
        _nap(counter, done, mailbox)
        done = load_word(counter + DONE)


@inner
def first_tile(tiles: int, part: int, parts: int) -> int:
    """Where a part of the tiles begins."""
    return tiles * part // parts


@inner
def _take_part_of_step(row: int, claims: int, part: int, end: int, generation: int, scratch: int) -> int:
    """Take tiles of one part until none is left; returns their number, or -1 when the request is over."""
    kernel, args, grain = read_i64(row + KERNEL), read_i64(row + ARGS), read_i64(row + GRAIN)
    word, taken = claims + 8 * part, 0
    while True:
        claim = load_word(word)
        if claim >> 32 != generation:
            return -1
        begin = claim & 0xFFFFFFFF
        if begin >= end:
            return taken
        count = least(grain, end - begin)
        if exchange_word(word, claim, claim + count) != 0:
            call_kernel(kernel, args, begin, begin + count, scratch)
            taken += count


@inner
def take_tiles(
    row: int, counter: int, generation: int, scratch: int, part: int, parts: int, mailbox: int
) -> int:
    """Take tiles of one step, the own part first, until none is left. FINISHED, or STALE when the request is over."""
    tiles, taken = read_i64(row + TILES), 0
    for offset in range(parts):
        of = (part + offset) % parts
        end = first_tile(tiles, of + 1, parts)
        count = _take_part_of_step(row, counter + CLAIMS, of, end, generation, scratch)
        if count < 0:
            return STALE
        taken += count
    if taken > 0:
        done = add_word(counter + DONE, taken) + taken
        if done == tiles and load_word(mailbox + WAITERS) != 0:
            unpark(counter + DONE)
    return FINISHED


@inner
def walk_step(  # noqa: PLR0913, PLR0917 - compiled code knows words only
    table: int,
    counters: int,
    step: int,
    generation: int,
    scratch: int,
    part: int,
    parts: int,
    mailbox: int,
    until: int,
) -> int:
    """Wait for what this step needs, then take its tiles. FINISHED, STALE or LATE: see wait_for_steps."""
    row = table + step * ROW
    wait_from = read_i64(row + WAIT_FROM)
    if wait_from >= 0:
        waited = wait_for_steps(table, counters, wait_from, step, generation, mailbox, until)
        if waited != FINISHED:
            return waited
    return take_tiles(row, counters + step * ROW, generation, scratch, part, parts, mailbox)
