"""Along axes: running sums and reductions. Float sums are taken in float64, or with their roundings beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import Kernel, inner, kernel, record
from engine.kernels.plain.places import offset_of
from engine.kernels.simd.arithmetic import splat_f32
from engine.kernels.simd.memory import (
    load_f32,
    read_f32,
    read_i32,
    read_i64,
    store_f32,
    write_f32,
    write_i32,
    write_i64,
)
from engine.kernels.simd.sums import exactly_added, finite_rest

READ = {"f32": read_f32, "i64": read_i64, "i32": read_i32}
WRITE = {"f32": write_f32, "i64": write_i64, "i32": write_i32}
SIZES = {"f32": 4, "i64": 8, "i32": 4}

RUNNING = np.dtype(
    [
        # `step`: bytes from one element of a line to the next, negative where the sum runs backwards
        *((name, np.int64) for name in ("x", "y", "count", "step", "exclusive", "axes", "places")),
    ],
    align=True,
)
running_of = record(RUNNING)

REDUCE = np.dtype(
    [
        *((name, np.int64) for name in ("x", "y", "axes", "places")),  # the axes that stay
        *((name, np.int64) for name in ("count", "stride", "outer", "inner_axes", "inner_places")),
    ],
    align=True,
)
reduce_of = record(REDUCE)


def _running_kernel(kind: str) -> Kernel:
    read, write = READ[kind], WRITE[kind]

    @kernel(f"running_sum_{kind}")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = running_of(args)
        for line in range(tile_begin, tile_end):
            offset = offset_of(a.places, a.axes, 0, line)
            total = read(a.x + offset)
            if a.exclusive != 0:
                total -= total
            write(total, a.y + offset)
            for i in range(1, a.count):
                at = offset + i * a.step
                total += read(a.x + (at - a.step if a.exclusive != 0 else at))
                write(total, a.y + at)

    return apply


# name: first value from x, next from the value so far and x, last from the value and the count
Steps = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]
_SAME: Callable[..., Any] = lambda total, _count: total  # noqa: E731 - Numba compiles the lambda
REDUCTIONS: dict[str, Steps] = {
    "ReduceL1": (lambda x: abs(x), lambda total, x: total + abs(x), _SAME),  # noqa: PLW0108
    "ReduceL2": (lambda x: x * x, lambda total, x: total + x * x, lambda total, _count: np.sqrt(total)),
    "ReduceMax": (lambda x: x, lambda total, x: x if x > total or x != x else total, _SAME),  # noqa: PLR0124
    "ReduceMean": (lambda x: x, lambda total, x: total + x, lambda total, count: total / count),
    "ReduceMin": (lambda x: x, lambda total, x: x if x < total or x != x else total, _SAME),  # noqa: PLR0124
    "ReduceSum": (lambda x: x, lambda total, x: total + x, _SAME),
    "ReduceSumSquare": (lambda x: x * x, lambda total, x: total + x * x, _SAME),
}
WHOLE = ("ReduceMax", "ReduceMin", "ReduceSum")
# Sums of many numbers that lie together are taken sixteen by sixteen.
SCRATCH = 128


@inner
def _line_sum(line: int, count: int, scratch: int) -> Any:
    """Sum of `count` numbers, a multiple of sixteen."""
    total, rest = splat_f32(np.float32(0)), splat_f32(np.float32(0))
    for at in range(0, 4 * count, 64):
        total, rest = exactly_added(total, rest, load_f32(line + at))
    store_f32(total, scratch)
    store_f32(finite_rest(rest), scratch + 64)
    whole = np.float64(0)
    for at in range(0, SCRATCH, 4):
        whole += np.float64(read_f32(scratch + at))
    return whole


def _reduce_kernel(op: str, kind: str) -> Kernel:
    read, write, size = READ[kind], WRITE[kind], SIZES[kind]
    first, further, last = (inner(step) for step in REDUCTIONS[op])
    floating = kind == "f32"
    adds = floating and op in ("ReduceMean", "ReduceSum")

    @inner
    def wide(at: int) -> Any:
        return np.float64(read(at)) if floating else read(at)

    @kernel(f"{op.lower()}_{kind}")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = reduce_of(args)
        for index in range(tile_begin, tile_end):
            x = a.x + offset_of(a.places, a.axes, 0, index)
            total = first(wide(x))
            for outer in range(a.outer):
                line = x + offset_of(a.inner_places, a.inner_axes, 0, outer)
                done = 1 if outer == 0 else 0
                if adds and a.stride == size:
                    many = (a.count - done) // 16 * 16
                    total += _line_sum(line + done * size, many, scratch)
                    done += many
                for i in range(done, a.count):
                    total = further(total, wide(line + i * a.stride))
            result = last(total, a.count * a.outer)
            write(np.float32(result) if floating else result, a.y + index * size)

    return apply


RUNNING_KERNELS = {kind: _running_kernel(kind) for kind in READ}
REDUCE_KERNELS = {
    (op, kind): _reduce_kernel(op, kind) for op in REDUCTIONS for kind in READ if kind == "f32" or op in WHOLE
}
