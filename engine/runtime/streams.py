"""Streams: teams on disjoint cores, one crew of workers, one line of callers."""

from __future__ import annotations

from weakref import WeakSet

from engine.machine.topology import Core
from engine.runtime.crew import Crew
from engine.runtime.line import Line
from engine.runtime.team import Team


class Streams:
    """Up to len(groups) requests at once, each on the cores of its group.

    groups    disjoint groups of cores
    elastic   callers line up before the memory node with the least work; else there is one line for all
    """

    def __init__(self, groups: tuple[tuple[Core, ...], ...], *, elastic: bool = False) -> None:
        self.crew = Crew(groups)
        self.teams = tuple(Team(group, self.crew, stream) for stream, group in enumerate(groups))
        found = sorted({group[0].node for group in groups})
        self.nodes = tuple(found.index(group[0].node) if elastic else 0 for group in groups)
        self.line = Line(self.nodes)
        self._users: WeakSet[object] = WeakSet()

    def __len__(self) -> int:
        return len(self.teams)

    @property
    def members(self) -> int:
        """Scratch places a plan must have."""
        return 1 + self.crew.size

    @property
    def parts(self) -> int:
        """Into how many parts tiles are cut, where the streams differ the most of them."""
        return max(team.parts for team in self.teams)

    def join(self, user: object) -> None:
        """Threads are kept as long as one of their users has not left."""
        self._users.add(user)

    def leave(self, user: object) -> None:
        """The user needs the streams no longer; the last one sends the workers home."""
        self._users.discard(user)
        if not self._users:
            self.crew.stop()

    def release(self) -> None:
        """Let go of plans that no request uses."""
        for team in self.teams:
            team.release()

    def close(self) -> None:
        """Refuse further requests and send the workers home."""
        self.line.close()
        self.crew.stop()
        self.release()
