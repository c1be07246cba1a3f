"""What a worker does in compiled code: wait for its bell, walk a request, wait again.

A worker belongs to one stream and serves its mailbox. Rung for another stream, which has work while its
own has none, it helps there until its own bell is raised again.
"""

from __future__ import annotations

from engine.jit import compiled, inner
from engine.kernels.simd.memory import read_i64
from engine.machine.atomics import add_word, load_word, relax, store_word
from engine.machine.waiting import park, ticks, unpark
from engine.runtime.mailbox import (
    BELL,
    BUSY,
    COUNTERS,
    FROM,
    HELP,
    PARKED,
    PART,
    PARTS,
    RAISED,
    SCRATCH,
    SCRATCH_BYTES,
    SEQUENCE,
    STOP,
    TABLE,
    TO,
)
from engine.runtime.walk import FINISHED, STALE, walk_step

# Looks at the bell before a worker goes to sleep: some 50 microseconds, so that back-to-back requests find it awake.
AWAKE = 2000
# Ticks that a helper waits for other members before it looks at its own bell: some 20 microseconds.
HELPERS_WAIT = 50_000


@inner
def serve(mailbox: int, bell: int, member: int, served: int, seen: int, helps: int) -> int:
    """Walk the request that the mailbox holds, if it can be read whole and is not the one `served` before.

    helps   1 to leave as soon as the bell differs from `seen`
    """
    store_word(mailbox, bell + BUSY)
    sequence: int = load_word(mailbox + SEQUENCE)
    table, counters = load_word(mailbox + TABLE), load_word(mailbox + COUNTERS)
    step, last = load_word(mailbox + FROM), load_word(mailbox + TO)
    scratch = load_word(mailbox + SCRATCH) + member * load_word(mailbox + SCRATCH_BYTES)
    parts, until = read_i64(mailbox + PARTS), 0
    part = read_i64(bell + PART) % parts
    if sequence & 1 != 0 or sequence == served or load_word(mailbox + SEQUENCE) != sequence:
        last = step
    while step < last:
        if helps != 0:
            until = ticks() + HELPERS_WAIT
        result = walk_step(table, counters, step, sequence, scratch, part, parts, mailbox, until)
        if result == STALE or (helps != 0 and load_word(bell + RAISED) != seen):
            last = step
        elif result == FINISHED:
            step += 1
    store_word(0, bell + BUSY)
    return sequence


@inner
def _await_bell(bell: int, seen: int) -> None:
    looks = 0
    while load_word(bell + RAISED) == seen and load_word(bell + STOP) == 0:
        looks += 1
        if looks < AWAKE:
            relax()
        else:
            store_word(1, bell + PARKED)
            # The bell may have been raised before the flag was seen: the futex compares once more.
            park(bell + RAISED, seen)
            store_word(0, bell + PARKED)


@compiled("i64", "i64", "i64", result="void")
def work(mailbox: int, bell: int, member: int) -> None:
    """A worker's life, until its bell says stop."""
    seen, served = 0, 0
    while load_word(bell + STOP) == 0:
        _await_bell(bell, seen)
        seen = load_word(bell + RAISED)
        if load_word(bell + STOP) == 0:
            served = serve(mailbox, bell, member, served, seen, 0)
            other = load_word(bell + HELP)
            if other != 0:
                store_word(0, bell + HELP)
                serve(other, bell, member, 0, seen, 1)


@inner
def ring(bell: int) -> None:
    """Raise a bell and wake its worker."""
    add_word(bell + RAISED, 1)
    if load_word(bell + PARKED) != 0:
        unpark(bell + RAISED)


@compiled("i64", "i64")
def dismiss(bells: int, workers: int) -> int:
    """Send workers home; they finish what they are at."""
    for worker in range(workers):
        bell = bells + worker * BELL
        store_word(1, bell + STOP)
        add_word(bell + RAISED, 1)
        unpark(bell + RAISED)
    return 0
