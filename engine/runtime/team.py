"""The team: the caller of a request and the workers of its stream, who walk a plan together.

A request is written into the stream's mailbox and the workers' bells are raised; the caller takes tiles
itself and then waits for tiles, never for workers. No Python object, lock or condition is between a
request's first step and its last; the caller comes back to Python in slices, for signals, deadlines and
workers that died.
"""

from __future__ import annotations

import threading
from typing import Any

from engine.errors import WorkerError
from engine.jit import compiled, inner
from engine.kernels.simd.memory import read_i64, write_i64
from engine.machine.atomics import load_word, publish_word, store_word
from engine.machine.topology import Core
from engine.machine.waiting import current_cpu, give_way, ticks, unpark
from engine.plan.table import CLAIMS, DONE, REQUEST_WORDS, ROW, TILES
from engine.runtime.crew import Crew
from engine.runtime.fork import renew_after_fork
from engine.runtime.limits import Limits
from engine.runtime.mailbox import (
    ACTIVE,
    BELL,
    BELL_NODE,
    BELLS,
    BUSY,
    CALLER_PART,
    COUNTERS,
    CPU,
    ENDED,
    FIRST,
    FROM,
    HELP,
    MAILBOX,
    MAILBOXES,
    NODE,
    PART,
    PARTS,
    SCRATCH,
    SEQUENCE,
    STREAMS,
    TABLE,
    TO,
    WORKERS,
)
from engine.runtime.walk import LATE, STALE, first_tile, sleep_through_step, wait_for_steps, walk_step
from engine.runtime.worker import ring

# Ticks (a fraction of a nanosecond each) of a caller's slice in compiled code, and of one that has limits to watch.
SLICE, SHORT_SLICE = 200_000_000, 2_000_000
# Ticks that a stream must have been without work before its workers help others: a caller that comes again at
# once should find its core free.
REST = 2_000_000
# The sequence stays below 2**30: it is the upper half of a claim.
LAST_SEQUENCE = 1 << 30


@inner
def _callers_place(mailbox: int) -> int:
    """The worker whom the caller stands in for: that of its own core, else the group's last.

    -1 when the caller is on a core of another memory node: then it had better sleep and let the group work.
    """
    bells, first, workers = (
        read_i64(mailbox + BELLS),
        read_i64(mailbox + FIRST),
        read_i64(mailbox + WORKERS),
    )
    cpu: int = current_cpu()
    spare: int = first + workers - 1
    for worker in range(first, first + workers):
        if read_i64(bells + worker * BELL + CPU) == cpu:
            return worker
    others = read_i64(mailbox + STREAMS)
    for stream in range(others):
        other = read_i64(mailbox + MAILBOXES) + stream * MAILBOX
        bell = bells + read_i64(other + FIRST) * BELL
        for worker in range(read_i64(other + WORKERS)):
            if read_i64(bell + worker * BELL + CPU) == cpu:
                away = read_i64(bell + worker * BELL + BELL_NODE) != read_i64(mailbox + NODE)
                return -1 if away else spare
    return spare


@inner
def _ring_own(mailbox: int) -> int:
    """Ring for all workers of the stream but the one whom the caller stands in for; returns the caller's part."""
    bells, first = read_i64(mailbox + BELLS), read_i64(mailbox + FIRST)
    spare = _callers_place(mailbox)
    for worker in range(first, first + read_i64(mailbox + WORKERS)):
        if worker != spare:
            ring(bells + worker * BELL)
    return read_i64(bells + spare * BELL + PART) if spare >= 0 else -1


@inner
def _ring_idle(mailbox: int) -> None:
    """Ask the workers of streams that have had no work for a while to help."""
    bells, now = read_i64(mailbox + BELLS), ticks()
    for stream in range(read_i64(mailbox + STREAMS)):
        other = read_i64(mailbox + MAILBOXES) + stream * MAILBOX
        idle = load_word(other + ACTIVE) == 0 and now - load_word(other + ENDED) > REST
        if other != mailbox and idle:
            first = read_i64(other + FIRST)
            for worker in range(first, first + read_i64(other + WORKERS)):
                store_word(mailbox, bells + worker * BELL + HELP)
                ring(bells + worker * BELL)


@inner
def _take_part(mailbox: int, step: int, slice_ticks: int) -> int:
    """Walk from `step` on as member 0 for a slice; returns the step to go on with, or -1 when all is finished."""
    sequence, table, counters = (
        load_word(mailbox + SEQUENCE),
        read_i64(mailbox + TABLE),
        read_i64(mailbox + COUNTERS),
    )
    first, last, scratch = read_i64(mailbox + FROM), read_i64(mailbox + TO), read_i64(mailbox + SCRATCH)
    part, parts = read_i64(mailbox + CALLER_PART), read_i64(mailbox + PARTS)
    until = ticks() + slice_ticks
    while step < last and part >= 0:
        result = walk_step(table, counters, step, sequence, scratch, part, parts, mailbox, until)
        if result == STALE:
            return -1
        if result == LATE:
            return step
        step += 1
        if step < last and ticks() > until:
            return step
    if part < 0:
        sleep_through_step(table, counters, last - 1, sequence, mailbox, until)
    if wait_for_steps(table, counters, first, last, sequence, mailbox, until) == LATE:
        return step
    store_word(ticks(), mailbox + ENDED)
    store_word(0, mailbox + ACTIVE)
    return -1


@inner
def _reset_counters(mailbox: int, sequence: int) -> None:
    table, counters = read_i64(mailbox + TABLE), read_i64(mailbox + COUNTERS)
    parts = read_i64(mailbox + PARTS)
    for step in range(read_i64(mailbox + FROM), read_i64(mailbox + TO)):
        tiles, counter = read_i64(table + step * ROW + TILES), counters + step * ROW
        publish_word(0, counter + DONE)
        for part in range(parts):
            publish_word((sequence << 32) + first_tile(tiles, part, parts), counter + CLAIMS + 8 * part)


@compiled("i64", "i64", "i64")
def _begin(mailbox: int, request: int, slice_ticks: int) -> int:
    """Publish a request, ring, and take part."""
    sequence = (load_word(mailbox + SEQUENCE) | 1) + 1
    if sequence >= LAST_SEQUENCE:
        sequence = 2
    store_word(sequence - 1, mailbox + SEQUENCE)
    for word in range(REQUEST_WORDS):
        publish_word(read_i64(request + 8 * word), mailbox + TABLE + 8 * word)
    _reset_counters(mailbox, sequence)
    store_word(1, mailbox + ACTIVE)
    store_word(sequence, mailbox + SEQUENCE)
    write_i64(0, mailbox + CALLER_PART)
    if read_i64(mailbox + WORKERS) > 0:
        write_i64(_ring_own(mailbox), mailbox + CALLER_PART)
        _ring_idle(mailbox)
    return _take_part(mailbox, read_i64(mailbox + FROM), slice_ticks)


@compiled("i64")
def _take_over(mailbox: int) -> int:
    """Let the caller take tiles though it is not at home here."""
    if read_i64(mailbox + CALLER_PART) < 0:
        write_i64(0, mailbox + CALLER_PART)
    return 0


@compiled("i64", "i64", "i64")
def _go_on(mailbox: int, step: int, slice_ticks: int) -> int:
    return _take_part(mailbox, step, slice_ticks)


@compiled("i64", "i64")
def _abandon(mailbox: int, crew: int) -> int:
    """Let no further tile of the request begin, and wait until those begun are finished and nobody reads its plan."""
    store_word(load_word(mailbox + SEQUENCE) | 1, mailbox + SEQUENCE)
    counters, bells = read_i64(mailbox + COUNTERS), read_i64(mailbox + BELLS)
    for step in range(read_i64(mailbox + FROM), read_i64(mailbox + TO)):
        for part in range(read_i64(mailbox + PARTS)):
            store_word(0, counters + step * ROW + CLAIMS + 8 * part)
        unpark(counters + step * ROW + DONE)
    for worker in range(crew):
        while load_word(bells + worker * BELL + BUSY) == mailbox:
            give_way()
    # Steps 0 .. -1: the mailbox names no memory of the plan any more.
    store_word(0, mailbox + FROM)
    store_word(0, mailbox + TO)
    store_word(ticks(), mailbox + ENDED)
    store_word(0, mailbox + ACTIVE)
    return 0


class Team:
    """The threads that run a stream's plans: the caller, and one pinned worker for each core but the caller's own.

    cores    of the stream
    crew     whose workers these are, the stream's place among its groups; None makes a crew for these cores alone

    One request at a time. A forked child starts workers of its own on first use.
    """

    def __init__(self, cores: tuple[Core, ...], crew: Crew | None = None, stream: int = 0) -> None:
        self.cores = cores
        self._crew = Crew((cores,)) if crew is None else crew
        self._shared = self._crew.shared
        self._mailbox = self._shared.mailbox(stream)
        self._kept = self._shared.kept[stream]
        self._parts = int(self._shared.mailboxes[stream, PARTS // 8])
        self.renew()
        renew_after_fork(self)

    @property
    def workers(self) -> int:
        """Threads beside the callers."""
        return self._crew.size

    @property
    def members(self) -> int:
        """Scratch places a plan must have: the caller's and each worker's of the crew, as any may help."""
        return 1 + self._crew.size

    @property
    def parts(self) -> int:
        """Into how many parts the tiles of a step are cut: each core begins with the same one at every step."""
        return self._parts

    def run(self, owner: Any, request: int, limits: Limits | None = None) -> None:
        """Walk the steps of a request and return when they are finished.

        owner     what holds the memory of the plan: kept while a late worker may still look at it
        request   address of table, counters, scratch, scratch bytes of a member, first step, last step + 1

        Raises DeadlineError and RequestCancelledError between steps, WorkerError when a worker died at work.
        """
        with self._one_at_a_time:
            if not self._crew.complete:
                self._crew.start()
            self._shared.lost.discard(self._mailbox)
            slice_ticks = SLICE if limits is None else SHORT_SLICE
            try:
                if not self._kept or self._kept[-1] is not owner:
                    self._keep(owner)
                step = _begin(self._mailbox, request, slice_ticks)
                while step >= 0:
                    self._check(limits)
                    step = _go_on(self._mailbox, step, slice_ticks)
            except BaseException:
                _abandon(self._mailbox, self._crew.size)
                raise

    def release(self) -> None:
        """Hold no plan any more, unless a request is running."""
        if self._one_at_a_time.acquire(blocking=False):
            try:
                _abandon(self._mailbox, self._crew.size)
                self._kept.clear()
            finally:
                self._one_at_a_time.release()

    def stop(self) -> None:
        """Send the workers home; the next request starts new ones."""
        self._crew.stop()

    def renew(self) -> None:
        """Nobody is running a request: at the beginning, and in a forked child."""
        self._one_at_a_time = threading.Lock()

    def _check(self, limits: Limits | None) -> None:
        if limits is not None:
            limits.check()
        if self._mailbox in self._shared.lost:
            message = (
                "a worker thread died while it worked on this request, whose outputs are lost. "
                "Send it again: the next request starts another worker."
            )
            raise WorkerError(message)
        if not self._crew.complete:
            # A caller that left all to the workers would wait for ever for those that were sent home.
            _take_over(self._mailbox)

    def _keep(self, owner: Any) -> None:
        """Hold this plan; let older ones go once no worker can be inside one.

        The latest is what the mailbox still names: it goes one request later.
        """
        busy = self._shared.bells[:, BUSY // 8]
        if not (busy == self._mailbox).any():
            del self._kept[:-1]
        self._kept.append(owner)
