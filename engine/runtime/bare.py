"""A walk without a team: what scheduling costs is measured against it."""

from __future__ import annotations

from engine.jit import compiled
from engine.kernels.simd.memory import read_i64
from engine.plan.table import ARGS, KERNEL, ROW, TILES
from engine.runtime.walk import call_kernel


@compiled("i64")
def walk_alone(request: int) -> int:
    """Call each step of a request once, with all its tiles, in the calling thread; nobody else may be at its plan."""
    table, scratch = read_i64(request), read_i64(request + 16)
    for step in range(read_i64(request + 32), read_i64(request + 40)):
        row = table + step * ROW
        call_kernel(read_i64(row + KERNEL), read_i64(row + ARGS), 0, read_i64(row + TILES), scratch)
    return 0
