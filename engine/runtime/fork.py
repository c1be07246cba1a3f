"""After a fork only the forking thread lives on: locks that others held are renewed, threads are forgotten."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """Something that holds locks or threads."""

    def renew(self) -> None:
        """Be as after construction: called in the child, where nothing else runs."""


_known: WeakSet[Renewable] = WeakSet()


def renew_after_fork(thing: Renewable) -> None:
    """Let `thing.renew` be called in every child that is forked while the thing lives."""
    _known.add(thing)


def _after_fork() -> None:
    for thing in list(_known):
        thing.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
