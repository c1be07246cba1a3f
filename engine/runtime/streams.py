"""Streams: teams on disjoint cores, one crew of workers, one line of callers."""

from __future__ import annotations

from weakref import WeakSet

from engine.machine.pinning import cpus_of_worker
from engine.machine.topology import Core
from engine.runtime.crew import Crew
from engine.runtime.line import Line
from engine.runtime.team import Team


def _cpus_of(group: tuple[Core, ...]) -> frozenset[int]:
    return frozenset[int]().union(*map(cpus_of_worker, group))


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
        self.line = Line(self.nodes, [_cpus_of(group) for group in groups] if len(groups) > 1 else ())
        self._users: WeakSet[object] = WeakSet()

    def __len__(self) -> int:
        return len(self.teams)

    @property
    def members(self) -> int:
        """Scratch places a plan must have: the caller's and those of all workers, as any may help."""
        return 1 + self.crew.size

    @property
    def members_of_one(self) -> int:
        """The caller and the workers of a stream, where the streams differ the most of them."""
        return 1 + min(self.crew.size, max(len(team.cores) for team in self.teams))

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
        """Refuse further requests and send the workers home; callers in line do their work alone."""
        self.line.close()
        self.crew.close()
        self.release()
