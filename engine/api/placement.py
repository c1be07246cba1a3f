"""Where an engine's requests run: cores, streams, scheduler, and whose weights it shares."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from engine.api.arguments import check_count, log
from engine.api.scheduler import Scheduler
from engine.frontend import Model
from engine.machine.groups import natural_streams
from engine.machine.topology import Core, topology
from engine.plan.packed_cache import open_packed_cache
from engine.plan.weights import WeightStore
from engine.runtime.streams import Streams
from engine.runtime.teams import new_streams, streams_of


def streams_to_use(asked: int | None, scheduler: Scheduler, cores: Sequence[Core]) -> int:
    """How many requests run at once on these cores.

    asked   None: the scheduler decides, one for each last-level cache; more than there are cores is capped, with a
            warning; single stream is always 1
    """
    if scheduler is Scheduler.single_stream:
        return 1
    if asked is None:
        return natural_streams(cores)
    if asked > len(cores):
        log.warning("num_streams exceeds num_cores - capping to %d", len(cores))
    return min(asked, len(cores))


@dataclass(eq=False)
class SharedModel:
    """A model that several engines of a context run: parsed once, its weights packed once a memory node."""

    model: Model
    stores: tuple[WeightStore, ...]


def new_stores(streams: Streams) -> tuple[WeightStore, ...]:
    """Stores for each memory node. Files are shared by all nodes, so only the first has them: others pack their own."""
    return tuple(
        WeightStore(open_packed_cache() if node == 0 else None) for node in range(len(set(streams.nodes)))
    )


@dataclass(eq=False, slots=True)
class Placement:
    """Cores and streams, and the models that engines placed here have open, by what tells files apart."""

    num_cores: int
    scheduler: Scheduler
    streams: Streams
    models: weakref.WeakValueDictionary[object, SharedModel] | None = None
    opening: threading.Lock | None = None


def place(num_cores: object, num_streams: object, scheduler: Scheduler, *, own: bool = False) -> Placement:
    """Cores and streams as asked for.

    own   threads that no other placement shares

    Raises OptionError, OptionTypeError.
    """
    asked = check_count("num_streams", num_streams)
    cores = check_count("num_cores", num_cores) or topology().available
    if cores > len(topology().cores):
        log.warning("num_cores=%d exceeds the %d cores here", cores, len(topology().cores))
    used = topology().cores[:cores]
    count = streams_to_use(asked, scheduler, used)
    elastic = scheduler is Scheduler.elastic
    made = (new_streams if own else streams_of)(len(used), count, elastic=elastic)
    if not own:
        return Placement(cores, scheduler, made)
    return Placement(cores, scheduler, made, weakref.WeakValueDictionary(), threading.Lock())
