"""Sleeping until a word changes, from compiled code: `park`, `nap`, and `unpark` that wakes.

Linux: a futex on the word's low half, through libc's `syscall`. Elsewhere a nap of 50 microseconds
behind the same two names; a waiter always looks at its word again.
"""

from __future__ import annotations

import platform
import sys
from typing import Any

from engine.jit import instruction, ir
from engine.jit.instruction import call

_LONG, _INT = ir.IntType(64), ir.IntType(32)
_WAIT, _WAKE, _PRIVATE = 0, 1, 128
_FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine()) if sys.platform == "linux" else None
_NAP_US = 50
_EVERYBODY = 2**31 - 1


def _constant(value: int) -> ir.Constant:
    return ir.Constant(_LONG, value)


def _park(builder: ir.IRBuilder, address: Any, seen: Any) -> None:
    _nap(builder, address, seen, _constant(0))


def _nap(builder: ir.IRBuilder, address: Any, seen: Any, patience: Any) -> None:
    if _FUTEX is not None:
        zero = _constant(0)
        arguments = [_constant(_FUTEX), address, _constant(_WAIT | _PRIVATE), seen, patience, zero, zero]
        call(builder, "syscall", _LONG, arguments)
    elif sys.platform == "win32":
        call(builder, "Sleep", ir.VoidType(), [ir.Constant(_INT, 0)])
    else:
        call(builder, "usleep", _INT, [ir.Constant(_INT, _NAP_US)])


def _unpark(builder: ir.IRBuilder, address: Any) -> None:
    if _FUTEX is not None:
        zero, sleepers = _constant(0), _constant(_EVERYBODY)
        arguments = [_constant(_FUTEX), address, _constant(_WAKE | _PRIVATE), sleepers, zero, zero, zero]
        call(builder, "syscall", _LONG, arguments)


def _give_way(builder: ir.IRBuilder) -> None:
    if sys.platform == "win32":
        call(builder, "SwitchToThread", _INT, [])
    else:
        call(builder, "sched_yield", _INT, [])


def _current_cpu(builder: ir.IRBuilder) -> Any:
    if sys.platform == "linux":
        return builder.sext(call(builder, "sched_getcpu", _INT, []), _LONG)
    return _constant(-1)


# The CPU this thread is on now; -1 where the system does not say.
current_cpu = instruction("i64", (), _current_cpu)
# park(address, seen): sleep while the low 32 bits of the word equal those of `seen`; may return early.
park = instruction("void", ("i64", "i64"), _park)
# nap(address, seen, patience): the same, and no longer than the two words at `patience` say: seconds, nanoseconds.
nap = instruction("void", ("i64",) * 3, _nap)
# unpark(address): wake all sleepers of this word.
unpark = instruction("void", ("i64",), _unpark)
# Let another thread have this core.
give_way = instruction("void", (), _give_way)
# A counter that grows steadily, of unknown unit: for time slices.
ticks = instruction("i64", (), lambda b: call(b, "llvm.readcyclecounter", _LONG, []))
