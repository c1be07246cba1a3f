"""The crew: one Python thread for each core, living inside compiled code, and the words it watches.

Threads hold the memory they look at, never the crew: a crew that nobody has any more sends its threads
home, and the memory goes with the last of them.
"""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.kernels.row import aligned
from engine.machine.pinning import cpus_of_worker
from engine.machine.slices import ask_for_short_slices
from engine.machine.topology import Core, pin_this_thread
from engine.plan.steps import Array
from engine.plan.table import MOST_PARTS
from engine.runtime.fork import renew_after_fork
from engine.runtime.mailbox import (
    BELL,
    BELL_NODE,
    BELLS,
    BUSY,
    CPU,
    FIRST,
    MAILBOX,
    MAILBOXES,
    NAP_NS,
    NODE,
    PART,
    PARTS,
    PATIENCE,
    STOP,
    STREAMS,
    WORKERS,
)
from engine.runtime.worker import dismiss, work

log = logging.getLogger("sparselane")

Groups = Sequence[tuple[Core, ...]]
# Seconds for all workers to go home when the interpreter ends; it does not wait longer.
_EXIT_S = 2.0


@dataclass(eq=False, slots=True)
class Shared:
    """Memory that threads look at, and what must live as long as one may.

    kept    for each stream, the owners of plans that a late worker may still read
    gone    workers that ended unasked and were not replaced as yet
    lost    addresses of mailboxes whose request a worker was at work on when it ended unasked
    """

    bells: Array
    mailboxes: Array
    kept: tuple[list[Any], ...]
    gone: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)

    def bell(self, worker: int) -> int:
        """Address of a worker's bell."""
        return int(self.bells.ctypes.data) + worker * BELL

    def mailbox(self, stream: int) -> int:
        """Address of a stream's mailbox."""
        return int(self.mailboxes.ctypes.data) + stream * MAILBOX


def _words(address: int) -> int:
    return address // 8


class Crew:
    """Workers for groups of cores, a group a stream. No threads for a single core: its caller is alone there.

    groups   disjoint; every core gets a worker, which belongs to the group's stream
    """

    def __init__(self, groups: Groups) -> None:
        cores = [core for group in groups for core in group]
        self.cores = tuple(cores)
        self.size = len(cores) if len(cores) > 1 else 0
        self.shared = Shared(
            aligned((max(self.size, 1), BELL // 8), np.int64),
            aligned((len(groups), MAILBOX // 8), np.int64),
            tuple([] for _ in groups),
        )
        self._groups = tuple(groups)
        self._stream_of = [stream for stream, group in enumerate(groups) for _ in group]
        self._closed = False
        self.renew()
        renew_after_fork(self)
        _crews.add(self)
        weakref.finalize(self, _send_home, self.shared, self.size).atexit = False

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """Those that were started and not sent home."""
        return tuple(self._threads.values())

    def renew(self) -> None:
        """No threads, empty mailboxes: at the beginning, and in a forked child."""
        self._lock = threading.Lock()
        self._threads: dict[int, threading.Thread] = {}
        self.shared.gone.clear()
        self.shared.lost.clear()
        self.shared.mailboxes[:] = 0
        first = 0
        for stream, group in enumerate(self._groups):
            workers = len(group) if self.size else 0
            words = {
                PARTS: min(max(workers, 1), MOST_PARTS),
                BELLS: self.shared.bell(0),
                FIRST: first,
                WORKERS: workers,
                MAILBOXES: self.shared.mailbox(0),
                STREAMS: len(self._groups),
                NODE: group[0].node,
                PATIENCE + 8: NAP_NS,
            }
            for address, word in words.items():
                self.shared.mailboxes[stream, _words(address)] = word
            first += workers

    @property
    def complete(self) -> bool:
        """Whether every worker is there."""
        return len(self._threads) == self.size and not self.shared.gone

    def start(self) -> None:
        """Start the workers that are missing. Where the system refuses, and once closed, callers do the work alone."""
        with self._lock:
            for worker in range(0 if self._closed else self.size):
                if worker not in self._threads or worker in self.shared.gone:
                    self.shared.gone.discard(worker)
                    self._start(worker)

    def _start(self, worker: int) -> None:
        stream = self._stream_of[worker]
        group = self._groups[stream]
        position = worker - int(self.shared.mailboxes[stream, _words(FIRST)])
        bell = self.shared.bells[worker]
        bell[:] = 0
        bell[_words(CPU)] = self.cores[worker].cpu
        bell[_words(BELL_NODE)] = self.cores[worker].node
        # Cores beyond the parts of a counter share them, neighbours first.
        bell[_words(PART)] = position * min(len(group), MOST_PARTS) // len(group)
        thread = threading.Thread(
            target=_live,
            args=(self.shared, worker, stream, cpus_of_worker(self.cores[worker])),
            name=f"sparselane-{worker}",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError as error:
            log.warning("worker %d could not be started: %s", worker, error)
        else:
            self._threads[worker] = thread

    def stop(self) -> None:
        """Send the workers home and wait for them; the next request starts new ones."""
        with self._lock:
            if self._threads:
                dismiss(self.shared.bell(0), self.size)
            for thread in self._threads.values():
                thread.join()
            self._threads.clear()

    def close(self) -> None:
        """As `stop`, for good."""
        self._closed = True
        self.stop()


def _send_home(shared: Shared, workers: int) -> None:
    """Without waiting: this runs wherever the last reference went away."""
    dismiss(shared.bell(0), workers)


def _live(shared: Shared, worker: int, stream: int, cpus: frozenset[int]) -> None:
    """A worker's life; it holds no reference to its crew, so that an unused crew can go."""
    if cpus:
        pin_this_thread(*cpus)
    ask_for_short_slices()
    try:
        work(shared.mailbox(stream), shared.bell(worker), worker + 1)
    finally:
        bell = shared.bells[worker]
        busy, bell[_words(BUSY)] = int(bell[_words(BUSY)]), 0
        if not bell[_words(STOP)]:
            # The request is told first: whoever sees that the worker is gone gives its bell to another.
            shared.lost.add(busy)
            shared.gone.add(worker)


_crews: weakref.WeakSet[Crew] = weakref.WeakSet()


def _at_exit() -> None:
    """Workers must not look at memory that the interpreter frees on its way out."""
    threads = [thread for crew in list(_crews) for thread in crew.threads]
    for crew in list(_crews):
        dismiss(crew.shared.bell(0), crew.size)
    for thread in threads:
        thread.join(_EXIT_S / len(threads))


atexit.register(_at_exit)
