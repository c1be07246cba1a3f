"""Largest numbers and means of sliding windows, over images as ONNX lays them out: [image][channel][height][width].

    rows of the window   joined into one line, with what stands for no pixel to its left and right
    taps of a row        joined along that line; every other one of its numbers where windows move by two

A window is a rectangle, so that down and across come one after the other. A tile is one channel of one image.
Whole vectors are read: tensors have room for one at their end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.jit import F32, I32, Kernel, inner, instruction, ir, kernel, record
from engine.kernels.simd.arithmetic import maximum, splat_f32, splat_i32
from engine.kernels.simd.bytes import LARGEST_BYTES
from engine.kernels.simd.memory import (
    load_f32,
    load_i32,
    load_vector,
    read_f32,
    read_u8,
    store_f32,
    store_i32,
    write_f32,
    write_u8,
)

POOL = np.dtype(
    [
        (name, np.int64)
        for name in (
            *("x", "y", "height", "width", "rows", "columns"),  # of an image before, and after
            *("down", "across", "stride_down", "stride_across", "dilation_down", "dilation_across"),
            *("top", "left"),  # padding
            "reach",  # numbers of a line that windows see
            *("down_counts", "across_counts"),  # of means: addresses of float32 [rows], [columns]
        )
    ],
    align=True,
)
pool_of = record(POOL)
# The last vector of a row, and a vector of numbers that do not lie together.
_SPARE = 128


def scratch_bytes(reach: int, line: int, stride: int, item: int) -> int:
    """A line of so many numbers, or of those that windows reach, with room for the last vector's numbers beyond."""
    return _SPARE + item * max(reach, line) + 64 * (stride + 2)


def _every_other(vector: Any, size: int) -> Any:
    """Numbers 0, 2, 4 .. from an address; nothing beyond the last of them is read."""
    count = 64 // size

    def emit(b: ir.IRBuilder, address: Any) -> Any:
        kind = ir.VectorType(ir.FloatType() if size == 4 else ir.IntType(8), count)
        long = ir.IntType(64)
        first, second = (
            load_vector(b, b.add(address, ir.Constant(long, at)), kind) for at in (0, (count - 1) * size)
        )
        index = [*range(0, count, 2), *range(count + 1, 2 * count, 2)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), count), index)
        found = b.shuffle_vector(first, second, mask)
        return found if size == 4 else b.bitcast(found, vector.llvm_type)

    return instruction(vector, ("i64",), emit)


@dataclass(frozen=True, slots=True)
class _Numbers:
    """How numbers of one kind are moved and joined; `nothing` is what joining does not see, in every place."""

    size: int
    load: Any
    store: Any
    read: Any
    write: Any
    splat: Any
    evens: Any
    joined: Any
    nothing: Any

    @property
    def count(self) -> int:
        return 64 // self.size


def _floats(joined: Any, nothing: float) -> _Numbers:
    moves = (load_f32, store_f32, read_f32, write_f32, splat_f32, _every_other(F32, 4))
    return _Numbers(4, *moves, joined, np.float32(nothing))


def _bytes(nothing: int, *, signed: bool) -> _Numbers:
    moves = (load_i32, store_i32, read_u8, write_u8, splat_i32, _every_other(I32, 1))
    return _Numbers(1, *moves, LARGEST_BYTES[signed], nothing)


def _line_of(n: _Numbers) -> Any:
    size, count, load, store = n.size, n.count, n.load, n.store
    splat, joined, nothing = n.splat, n.joined, n.nothing

    @inner
    def line_of(a: Any, x: int, first: int, line: int) -> None:
        """Rows first, first + dilation .. of an image, joined; nothing on both sides."""
        for at in range(0, a.left, count):
            store(splat(nothing), line + size * at)
        for column in range(0, a.width, count):
            value = splat(nothing)
            for tap in range(a.down):
                row = first + tap * a.dilation_down
                if row >= 0 and row < a.height:
                    value = joined(value, load(x + size * (row * a.width + column)))
            store(value, line + size * (a.left + column))
        for at in range(a.left + a.width, a.reach, count):
            store(splat(nothing), line + size * at)

    return line_of


def _window_of(n: _Numbers) -> Any:
    size, count, load, read, write = n.size, n.count, n.load, n.read, n.write
    splat, evens, joined, nothing = n.splat, n.evens, n.joined, n.nothing

    @inner
    def taken(a: Any, at: int, spare: int) -> Any:
        """Numbers at, at + stride .. of a line."""
        if a.stride_across == 1:
            value = load(at)
        elif a.stride_across == 2:
            value = evens(at)
        else:
            for i in range(count):
                write(read(at + size * i * a.stride_across), spare + size * i)
            value = load(spare)
        return value

    @inner
    def window_of(a: Any, at: int, spare: int) -> Any:
        """The windows that begin at, at + stride .. of a line."""
        value = splat(nothing)
        for tap in range(a.across):
            value = joined(value, taken(a, at + size * tap * a.dilation_across, spare))
        return value

    return window_of


def _kept(n: _Numbers) -> Any:
    size, count, store, read, write = n.size, n.count, n.store, n.read, n.write

    @inner
    def kept(value: Any, place: int, room: int, spare: int) -> None:
        """The next channel begins where this one ends: no whole vector there."""
        if room >= count:
            store(value, place)
        else:
            store(value, spare)
            for i in range(room):
                write(read(spare + size * i), place + size * i)

    return kept


def _pool_kernel(name: str, n: _Numbers, *, mean: bool = False) -> Kernel:
    size, count, line_of, window_of, kept = n.size, n.count, _line_of(n), _window_of(n), _kept(n)

    @kernel(name, f"1x{count}")
    def pool(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = pool_of(args)
        line = scratch + _SPARE
        for tile in range(tile_begin, tile_end):
            x, y = a.x + tile * a.height * a.width * size, a.y + tile * a.rows * a.columns * size
            for row in range(a.rows):
                line_of(a, x, row * a.stride_down - a.top, line)
                for column in range(0, a.columns, count):
                    value = window_of(a, line + size * column * a.stride_across, scratch)
                    if mean:
                        down = splat_f32(read_f32(a.down_counts + 4 * row))
                        value = value / (down * load_f32(a.across_counts + 4 * column))
                    kept(value, y + size * (row * a.columns + column), a.columns - column, scratch)

    return pool


KERNELS = {
    ("MaxPool", np.dtype(np.float32)): _pool_kernel("max_pool_f32", _floats(maximum, -np.inf)),
    ("MaxPool", np.dtype(np.uint8)): _pool_kernel("max_pool_u8", _bytes(0, signed=False)),
    ("MaxPool", np.dtype(np.int8)): _pool_kernel("max_pool_s8", _bytes(0x80808080, signed=True)),
    ("AveragePool", np.dtype(np.float32)): _pool_kernel(
        "average_pool_f32", _floats(inner(lambda x, y: x + y), 0), mean=True
    ),
}
