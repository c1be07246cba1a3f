"""Teams of this process: engines that use as many cores share the threads."""

from __future__ import annotations

import threading

from engine.machine.topology import topology
from engine.runtime.team import Team

_lock = threading.Lock()
_teams: dict[int, Team] = {}


def team_of(count: int) -> Team:
    """The team of the first `count` cores of this process.

    A team of one has no threads to share: each caller gets its own, and none waits for another.
    """
    if count == 1:
        return Team(topology().cores[:1])
    with _lock:
        if count not in _teams:
            _teams[count] = Team(topology().cores[:count])
        return _teams[count]
