"""The team: Python threads that live inside compiled code, and the mailbox they watch.

A worker thread enters `_work` once, without the GIL, pinned to its core, and waits there on its own
word. A request is written into the mailbox and the workers' words are raised; the caller takes tiles
itself and then waits for tiles, never for workers. No Python object, lock or condition is between a
request's first step and its last.

    mailbox   sequence | table | counters | scratch, bytes of a member | steps from, to | parts | the caller's part
    request   the same without the sequence: kept by the plan, copied into the mailbox
    bell      one line a worker: raised to the request's sequence number; parked; busy; stop; cpu; part

The sequence is odd while the mailbox is being written, so a worker that wakes late can tell a torn
reading from a whole one.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

import numpy as np

from engine.jit import compiled, inner
from engine.kernels.row import aligned
from engine.kernels.simd.memory import read_i64, write_i64
from engine.machine.atomics import load_word, relax, store_word
from engine.machine.topology import Core, pin_this_thread
from engine.machine.waiting import current_cpu, give_way, park, ticks, unpark
from engine.options import environment_flag
from engine.plan.table import CLAIMS, DONE, MOST_PARTS, REQUEST_WORDS, ROW, TILES
from engine.runtime.walk import FINISHED, STALE, first_tile, wait_for_steps, walk_step

SEQUENCE, TABLE, COUNTERS, SCRATCH, SCRATCH_BYTES, FROM, TO, PARTS, CALLER_PART = range(0, 72, 8)
RAISED, PARKED, BUSY, STOP, CPU, PART = range(0, 48, 8)
BELL = 64
# Looks at the bell before a worker goes to sleep: some 50 microseconds, so that back-to-back requests find it awake.
AWAKE = 2000
# Ticks (a fraction of a nanosecond each) of a caller's slice in compiled code: signals are served in between.
SLICE = 500_000_000
# The sequence stays below 2**30: it is the upper half of a claim.
LAST_SEQUENCE = 1 << 30


@inner
def _serve(mailbox: int, member: int, part: int) -> None:
    """Walk the request that the mailbox holds, if it can be read whole."""
    sequence = load_word(mailbox + SEQUENCE)
    table, counters = load_word(mailbox + TABLE), load_word(mailbox + COUNTERS)
    step, last = load_word(mailbox + FROM), load_word(mailbox + TO)
    scratch = load_word(mailbox + SCRATCH) + member * load_word(mailbox + SCRATCH_BYTES)
    parts = read_i64(mailbox + PARTS)
    if sequence & 1 != 0 or load_word(mailbox + SEQUENCE) != sequence:
        return
    while step < last and walk_step(table, counters, step, sequence, scratch, part, parts) == FINISHED:
        step += 1


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
def _work(mailbox: int, bell: int, member: int) -> None:
    seen = 0
    while load_word(bell + STOP) == 0:
        _await_bell(bell, seen)
        seen = load_word(bell + RAISED)
        store_word(1, bell + BUSY)
        if load_word(bell + STOP) == 0:
            _serve(mailbox, member, read_i64(bell + PART))
        store_word(0, bell + BUSY)


@inner
def _ring(bells: int, workers: int, sequence: int) -> int:
    """Ring for all workers but one: that of the caller's own core, which would take the core away from it.

    Returns the part of the one who is spared: it is the caller's.
    """
    cpu, spare = current_cpu(), workers - 1
    for worker in range(workers):
        if read_i64(bells + worker * BELL + CPU) == cpu:
            spare = worker
    for worker in range(workers):
        if worker != spare:
            bell = bells + worker * BELL
            store_word(sequence, bell + RAISED)
            if load_word(bell + PARKED) != 0:
                unpark(bell + RAISED)
    part: int = read_i64(bells + spare * BELL + PART)
    return part


@inner
def _take_part(mailbox: int, step: int) -> int:
    """Walk from `step` on as member 0 for a slice; returns the step to go on with, or -1 when all is finished."""
    sequence, table, counters = (
        load_word(mailbox + SEQUENCE),
        read_i64(mailbox + TABLE),
        read_i64(mailbox + COUNTERS),
    )
    first, last, scratch = read_i64(mailbox + FROM), read_i64(mailbox + TO), read_i64(mailbox + SCRATCH)
    part, parts = read_i64(mailbox + CALLER_PART), read_i64(mailbox + PARTS)
    until = ticks() + SLICE
    while step < last:
        if walk_step(table, counters, step, sequence, scratch, part, parts) == STALE:
            return -1
        step += 1
        if step < last and ticks() > until:
            return step
    wait_for_steps(table, counters, first, last, sequence)
    return -1


@inner
def _reset_counters(mailbox: int, sequence: int) -> None:
    table, counters = read_i64(mailbox + TABLE), read_i64(mailbox + COUNTERS)
    parts = read_i64(mailbox + PARTS)
    for step in range(read_i64(mailbox + FROM), read_i64(mailbox + TO)):
        tiles, counter = read_i64(table + step * ROW + TILES), counters + step * ROW
        store_word(0, counter + DONE)
        for part in range(parts):
            store_word((sequence << 32) + first_tile(tiles, part, parts), counter + CLAIMS + 8 * part)


@compiled("i64", "i64", "i64", "i64")
def _begin(mailbox: int, bells: int, workers: int, request: int) -> int:
    """Publish a request, ring, and take part."""
    sequence = (load_word(mailbox + SEQUENCE) | 1) + 1
    if sequence >= LAST_SEQUENCE:
        sequence = 2
    store_word(sequence - 1, mailbox + SEQUENCE)
    for word in range(REQUEST_WORDS):
        write_i64(read_i64(request + 8 * word), mailbox + TABLE + 8 * word)
    _reset_counters(mailbox, sequence)
    store_word(sequence, mailbox + SEQUENCE)
    if workers > 0:
        write_i64(_ring(bells, workers, sequence), mailbox + CALLER_PART)
    return _take_part(mailbox, read_i64(mailbox + FROM))


@compiled("i64", "i64")
def _go_on(mailbox: int, step: int) -> int:
    return _take_part(mailbox, step)


@compiled("i64", "i64", "i64")
def _abandon(mailbox: int, bells: int, workers: int) -> int:
    """Let no further tile of the request begin, and wait until those begun are finished."""
    store_word(load_word(mailbox + SEQUENCE) | 1, mailbox + SEQUENCE)
    counters = read_i64(mailbox + COUNTERS)
    for step in range(read_i64(mailbox + FROM), read_i64(mailbox + TO)):
        for part in range(read_i64(mailbox + PARTS)):
            store_word(0, counters + step * ROW + CLAIMS + 8 * part)
    for worker in range(workers):
        while load_word(bells + worker * BELL + BUSY) != 0:
            give_way()
    return 0


@compiled("i64")
def _dismiss(bell: int) -> int:
    store_word(1, bell + STOP)
    store_word(load_word(bell + RAISED) + 2, bell + RAISED)
    unpark(bell + RAISED)
    return 0


class Team:
    """The threads that run plans: the caller, and one pinned worker for each core but the caller's own.

    One request at a time; callers queue. A forked child starts workers of its own on first use.
    """

    def __init__(self, cores: tuple[Core, ...]) -> None:
        self.cores = cores
        # A worker for every core, one of which sits each request out; none where the caller is alone.
        self.workers = len(cores) if len(cores) > 1 else 0
        self._mailbox = aligned(16, np.int64)
        self._bells = aligned((max(self.workers, 1), BELL // 8), np.int64)
        # Cores beyond the parts of a counter share them, neighbours first.
        self._parts = min(max(self.workers, 1), MOST_PARTS)
        self._mailbox[PARTS // 8] = self._parts
        self._mailbox_address, self._bells_address = self._mailbox.ctypes.data, self._bells.ctypes.data
        self._kept: list[Any] = []
        self._threads: list[threading.Thread] = []
        self._forget_threads()
        if hasattr(os, "register_at_fork"):
            reference = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _after_fork(reference))

    @property
    def members(self) -> int:
        """Scratch places a plan must have: the caller's and each worker's."""
        return 1 + self.workers

    @property
    def parts(self) -> int:
        """Into how many parts the tiles of a step are cut: each core begins with the same one at every step."""
        return self._parts

    def run(self, owner: Any, request: int) -> None:
        """Walk the steps of a request and return when they are finished.

        owner     what holds the memory of the plan: kept while a late worker may still look at it
        request   address of table, counters, scratch, scratch bytes of a member, first step, last step + 1
        """
        with self._queue:
            if len(self._threads) < self.workers:
                self._start_workers()
            if not self._kept or self._kept[-1] is not owner:
                self._keep(owner)
            try:
                step = _begin(self._mailbox_address, self._bells_address, self.workers, request)
                while step >= 0:
                    step = _go_on(self._mailbox_address, step)
            except BaseException:
                _abandon(self._mailbox_address, self._bells_address, self.workers)
                raise

    def stop(self) -> None:
        """Send the workers home; the next request starts new ones."""
        with self._queue:
            for worker, thread in enumerate(self._threads):
                _dismiss(self._bells_address + worker * BELL)
                thread.join()
            self._threads = []

    def _keep(self, owner: Any) -> None:
        """Hold this plan; let others go once no worker can be inside one."""
        if not self._bells[:, BUSY // 8].any():
            self._kept.clear()
        self._kept.append(owner)

    def _forget_threads(self) -> None:
        self._queue = threading.Lock()
        self._threads = []

    def _start_workers(self) -> None:
        self._bells[:] = 0
        for worker in range(self.workers):
            self._bells[worker, CPU // 8] = self.cores[worker].cpu
            self._bells[worker, PART // 8] = worker * self._parts // self.workers
            arguments = (self._mailbox_address, self._bells_address + worker * BELL, worker + 1)
            cpu = self.cores[worker].cpu if environment_flag("ENGINE_PIN", default=True) else None
            thread = threading.Thread(
                target=_live, args=(*arguments, cpu), name=f"sparselane-{worker}", daemon=True
            )
            thread.start()
            self._threads.append(thread)


def _live(mailbox: int, bell: int, member: int, cpu: int | None) -> None:
    """A worker's life; it holds no reference to its team, so that an unused team can go."""
    if cpu is not None:
        pin_this_thread(cpu)
    _work(mailbox, bell, member)


def _after_fork(reference: weakref.ref[Team]) -> None:
    team = reference()
    if team is not None:
        team._forget_threads()  # noqa: SLF001 - the same module
