"""Cores divided among streams, on the borders of memory nodes and last-level caches where the count allows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from engine.machine.topology import Core

Group = tuple[Core, ...]


def _parted(cores: Sequence[Core], key: Callable[[Core], tuple[int, ...]]) -> list[Group]:
    found: dict[tuple[int, ...], list[Core]] = {}
    for core in cores:
        found.setdefault(key(core), []).append(core)
    return [tuple(group) for _, group in sorted(found.items())]


def nodes(cores: Sequence[Core]) -> list[Group]:
    """Cores by memory node."""
    return _parted(cores, lambda core: (core.node,))


def caches(cores: Sequence[Core]) -> list[Group]:
    """Cores by last-level cache, those of one node side by side."""
    return _parted(cores, lambda core: (core.node, core.cache))


def natural_streams(cores: Sequence[Core]) -> int:
    """Streams where nobody names a number: one for each last-level cache, at least one for each node."""
    return len(caches(cores))


def _evenly(things: Sequence[Group], count: int) -> list[Group]:
    """`count` runs of the things, whose lengths differ by one at most, longer ones first."""
    size, longer = divmod(len(things), count)
    ends = [size * i + min(i, longer) for i in range(count + 1)]
    runs = (things[begin:end] for begin, end in pairwise(ends))
    return [tuple(core for group in run for core in group) for run in runs]


def divide(cores: Sequence[Core], streams: int) -> tuple[Group, ...]:
    """Contiguous groups of cores, one a stream; `streams` is from 1 to the number of cores.

    8 cores a cache, 2 caches:   2 streams   00000000 11111111
                                 4           0000 1111 2222 3333
                                 3           000000 11111 22222     (no border fits: one stream straddles)
    """
    for domains in (caches(cores), nodes(cores)):
        if len(domains) % streams == 0:
            return tuple(_evenly(domains, streams))
        each = streams // len(domains)
        if streams % len(domains) == 0 and min(map(len, domains)) >= each:
            return tuple(g for domain in domains for g in _evenly([(core,) for core in domain], each))
    ordered = [(core,) for group in caches(cores) for core in group]
    return tuple(_evenly(ordered, streams))
