"""Where a worker thread may run: on its core, on its core's memory node, or where the system puts it."""

from __future__ import annotations

import functools
import logging

from engine.errors import OptionError
from engine.machine.topology import Core, Topology, topology
from engine.options import environment_flag, environment_option

log = logging.getLogger("sparselane")

PINNINGS = {"core": "core", "1": "core", "numa": "numa", "none": "none", "0": "none"}


def asked_pinning() -> str:
    """One of "core", "numa", "none", as the environment says; the predecessor's variables count where ours is not set.

    Raises OptionError for another word.
    """
    setting = environment_option("ENGINE_PIN")
    if setting is not None:
        if setting.value.lower() not in PINNINGS:
            message = f"ENGINE_PIN must be one of {', '.join(PINNINGS)}; got {setting.value!r}."
            raise OptionError(message)
        return PINNINGS[setting.value.lower()]
    if environment_flag("NM_BIND_THREADS_TO_SOCKETS", default=False):
        return "numa"
    return "core" if environment_flag("NM_BIND_THREADS_TO_CORES", default=True) else "none"


def cpus_of(core: Core, machine: Topology, pinning: str) -> frozenset[int]:
    """The CPUs that this core's worker is held to; none: it is not held.

    A quota of a fraction of a core stops whoever uses it up: a worker that is held to a core would be stopped
    while others stand idle, so nobody is held then.
    """
    if pinning == "none" or (machine.quota is not None and machine.quota % 1 != 0):
        return frozenset()
    if pinning == "numa":
        return frozenset(other.cpu for other in machine.cores if other.node == core.node)
    return frozenset({core.cpu})


@functools.cache
def _warn_of_quota() -> None:
    log.warning("the CPU quota is %s cores: worker threads are not pinned", topology().quota)


def cpus_of_worker(core: Core) -> frozenset[int]:
    """The same for this machine and environment. Raises OptionError for a bad ENGINE_PIN."""
    pinning = asked_pinning()
    cpus = cpus_of(core, topology(), pinning)
    if not cpus and pinning != "none":
        _warn_of_quota()
    return cpus
