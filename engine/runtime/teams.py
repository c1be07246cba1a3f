"""Streams of this process: engines that ask for the same ones share the threads."""

from __future__ import annotations

import threading
import weakref

from engine.machine.groups import divide
from engine.machine.topology import topology
from engine.runtime.fork import renew_after_fork
from engine.runtime.streams import Streams
from engine.runtime.team import Team


class _Guard:
    """The lock over the streams of this process."""

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        self.lock = threading.Lock()


_guard = _Guard()
_streams: weakref.WeakValueDictionary[tuple[int, int, bool], Streams] = weakref.WeakValueDictionary()


def new_streams(count: int, streams: int, *, elastic: bool) -> Streams:
    """Streams that nobody else has, on the first `count` cores of this process."""
    return Streams(divide(topology().cores[:count], streams), elastic=elastic)


def streams_of(count: int, streams: int = 1, *, elastic: bool = False) -> Streams:
    """The streams on the first `count` cores of this process; their threads end with the last who has them.

    A single core has no threads to share: each caller gets its own stream, and none waits for another.
    """
    if count == 1:
        return new_streams(1, 1, elastic=False)
    key = count, streams, elastic
    with _guard.lock:
        found = _streams.get(key)
        if found is None or found.line.closed:
            found = _streams[key] = new_streams(count, streams, elastic=elastic)
        return found


def team_of(count: int) -> Team:
    """The team of the first `count` cores, for callers that need no line: measurements, tests."""
    return streams_of(count).teams[0]
