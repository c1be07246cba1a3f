"""Asking the operating system for AMX tiles: Linux grants their 8 KiB of state only to processes that ask.

The permission is the process's: threads and forked children have it too, an exec'd program asks anew.
A refusal (seccomp, a thread whose signal stack is too small for the state) leaves everything as it was;
a tile instruction without it would end the process.
"""

from __future__ import annotations

import ctypes
import platform
import sys

# asm/prctl.h, and the number of arch_prctl in the x86-64 table of system calls.
_SYSTEM_CALL, _GET_PERMISSIONS, _REQUEST, _TILE_DATA = 158, 0x1022, 0x1023, 18


def request_tiles() -> bool:
    """Ask for tile state; True when this process has it now. Never raises."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    system_call = ctypes.CDLL(None, use_errno=True).syscall
    system_call.restype = ctypes.c_long
    system_call.argtypes = [ctypes.c_long] * 3
    if system_call(_SYSTEM_CALL, _REQUEST, _TILE_DATA) != 0:
        return False
    permitted = ctypes.c_uint64()
    answered = system_call(_SYSTEM_CALL, _GET_PERMISSIONS, ctypes.addressof(permitted)) == 0
    return answered and bool(permitted.value >> _TILE_DATA & 1)
