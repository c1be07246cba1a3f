"""Short time slices: how a thread asks Linux (6.12 and newer) to be served soon rather than for long.

A thread that shares its core with another process gets half of it either way. With short slices it waits
for the other one a fraction of a millisecond instead of some milliseconds; and for each step of a model,
all members wait for the one that waits longest.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import struct
import sys
from typing import Any

# Numbers of sched_setattr, sched_getattr.
_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}.get(platform.machine())
# size, policy, flags, nice, priority, runtime, deadline, period, least and most utilisation
_ATTRIBUTES = struct.Struct("IIQiIQQQII")
_OTHER = 0
SHORT_NS = 100_000


@functools.cache
def _system_call() -> Any:
    return ctypes.CDLL(None).syscall


def ask_for_short_slices() -> bool:
    """Let the calling thread have slices of 0.1 ms; policy, nice value and share stay. False where that is not possible."""
    if sys.platform != "linux" or _CALLS is None:
        return False
    set_attributes, get_attributes = _CALLS
    content = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if _system_call()(get_attributes, 0, content, _ATTRIBUTES.size, 0) != 0:
        return False
    size, policy, flags, nice, priority, _, *rest = _ATTRIBUTES.unpack(content.raw)
    if policy != _OTHER:
        return False
    wanted = _ATTRIBUTES.pack(size, policy, flags, nice, priority, SHORT_NS, *rest)
    return bool(_system_call()(set_attributes, 0, ctypes.create_string_buffer(wanted, len(wanted)), 0) == 0)
