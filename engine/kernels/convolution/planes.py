"""Images as padded planes: one for each channel and phase, so that a tap of the window is an offset into one of them.

    image row          . . x x x x x x . .        padding (dots) is stored: zeros, or the zero point
    stride 1           one plane, `pitch` numbers a row, rows one after another
    stride 2           phase 0: x0 x2 x4 ..   phase 1: x1 x3 x5 ..       each a plane of its own, both ways

    out[pixel] += w[tap] * plane[phase of tap][pixel + offset of tap]

A number is a float32, or a quad of four channels of bytes. Phases that no tap reads are not stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.jit import I32, inner, instruction, ir, kernel, record
from engine.kernels.layout import VECTOR_LANES
from engine.kernels.simd.arithmetic import least, splat_i32
from engine.kernels.simd.memory import (
    load_i32,
    load_vector,
    read_i32,
    read_i64,
    read_u8,
    splat,
    store_i32,
    write_i32,
    write_i64,
)

Pair = tuple[int, int]
# Numbers that are read in one go.
BLOCK = 4 * VECTOR_LANES


@dataclass(frozen=True, slots=True)
class Window:
    """A convolution's sizes, each as (down, across).

    image, result   pixels before and after
    begin           padding above and to the left
    """

    image: Pair
    result: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    begin: Pair

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    def reach(self, axis: int) -> int:
        """The largest offset of a tap, in pixels of a phase."""
        return (self.kernel[axis] - 1) * self.dilation[axis] // self.stride[axis]

    def phases(self, axis: int) -> int:
        """Phases up to the last that a tap reads."""
        return 1 + max(tap * self.dilation[axis] % self.stride[axis] for tap in range(self.kernel[axis]))

    @property
    def pitch(self) -> int:
        """Numbers from one row of a plane to the next: whole vectors, where that is a quarter more at most."""
        least = self.result[1] + self.reach(1)
        whole = -(-least // VECTOR_LANES) * VECTOR_LANES
        return whole if 4 * whole <= 5 * least else least

    @property
    def rows(self) -> int:
        """Rows of a plane."""
        return self.result[0] + self.reach(0)

    @property
    def plane(self) -> int:
        """Numbers of a plane, with what whole blocks read, and whole vectors write, beyond its last row."""
        return -(-(self.rows * self.pitch + BLOCK) // VECTOR_LANES) * VECTOR_LANES

    @property
    def channel(self) -> int:
        """Numbers of all phases of a channel."""
        return self.plane * self.phases(0) * self.phases(1)

    def copies_bytes(self, width: int) -> int:
        """Scratch for the copies of a channel, from panels of so many lanes."""
        row = -(-self.pitch // VECTOR_LANES) + 2 * (self.pitch * self.stride[1] // width + 2)
        fills = -(-self.plane // VECTOR_LANES) + 1
        return _COPY * self.phases(0) * self.phases(1) * (self.rows * (row + 1) + fills)

    def offsets(self) -> list[int]:
        """Where each tap's pixel 0 lies in a channel, in numbers; taps of a row one after another."""
        found = []
        for tap in np.ndindex(self.kernel):
            down, across = (place * dilation for place, dilation in zip(tap, self.dilation, strict=True))
            phase = down % self.stride[0] * self.phases(1) + across % self.stride[1]
            place = down // self.stride[0] * self.pitch + across // self.stride[1]
            found.append(phase * self.plane + place)
        return found


PLANES = np.dtype(
    [
        (name, np.int64)
        for name in (
            "x",  # channel 0, lane 0
            "x_row",  # bytes from channel to channel, from quad to quad
            "x_panel",  # bytes from panel to panel
            "x_width",  # lanes of a panel
            "x_pitch",  # lanes from image to image
            "y",  # planes [image][channel][phase]
            "channels",
            "present",  # channels that x has: those beyond are padding
            "channel_bytes",
            "plane_bytes",
            "height",
            "width",
            "rows",
            "pitch",
            "top",
            "left",
            "down",  # strides
            "across",
            "phases_down",
            "phases_across",
            "fill",  # what padding holds
            "fill_at",  # address of a byte that fills quads instead, or 0
            "above",  # rows of a result below the image's own at which planes begin
        )
    ],
    align=True,
)
planes_of = record(PLANES)


def _evens(b: ir.IRBuilder, address: Any) -> Any:
    first, second = (
        load_vector(b, b.add(address, ir.Constant(ir.IntType(64), at)), I32.llvm_type) for at in (0, 60)
    )
    index = [*range(0, 16, 2), *range(17, 32, 2)]
    mask = ir.Constant(ir.VectorType(ir.IntType(32), 16), index)
    return b.shuffle_vector(first, second, mask)


def _blend(b: ir.IRBuilder, x: Any, fill: Any, count: Any) -> Any:
    lanes = ir.Constant(I32.llvm_type, list(range(16)))
    whole = splat(b, b.trunc(count, ir.IntType(32)), I32.llvm_type)
    return b.select(b.icmp_signed("<", lanes, whole), x, fill)


# Every other of 31 numbers: the second vector begins one early, so that nothing beyond the last of them is read.
_load_evens = instruction(I32, ("i64",), _evens)
# The first `count` lanes of x, and fill behind them.
_first_of = instruction(I32, (I32, I32, "i64"), _blend)
# Bytes of a vector to be copied: where from, where to, and how many numbers of it come from there.
_COPY = 24


@inner
def _inside(size: int, phase: int, begin: int, step: int) -> int:
    """How many places of a phase come before the pixel `size` of the image."""
    before = size + begin - phase + step - 1
    return before // step if before > 0 else 0


@inner
def _note(copies: int, found: int, source: int, target: int, count: int) -> int:
    write_i64(source, copies + _COPY * found)
    write_i64(target, copies + _COPY * found + 8)
    write_i64(count, copies + _COPY * found + 16)
    return found + 1


@inner
def _note_fill(copies: int, found: int, begin: int, end: int) -> int:
    for at in range(begin, end, 64):
        found = _note(copies, found, 0, at, 0)
    return found


@inner
def _find_row(a: Any, lane: int, place: int, places: int, copies: int, found: int) -> int:
    """So many places of a row from a lane on: a vector ends where its panel does."""
    step, done = a.across, 0
    while done < places:
        index = lane // a.x_width
        within = lane - index * a.x_width
        run = least((a.x_width - within + step - 1) // step, places - done)
        source = index * a.x_panel + 4 * within
        for at in range(0, run, 16):
            count = least(16, run - at)
            found = _note(copies, found, source + 4 * at * step, place + 4 * (done + at), count)
        done += run
        lane += run * step
    return found


@inner
def find_copies(a: Any, image: int, copies: int) -> int:
    """All vectors of a channel of this image, to `copies`; how many there are."""
    return find_band(a, image, 0, copies)


@inner
def find_band(a: Any, image: int, above: int, copies: int) -> int:
    """The same of planes that begin so many rows of a result below the image's own.

    In order: what a vector holds behind its numbers is padding, and what follows overwrites what is none.
    """
    found = 0
    for phase in range(a.phases_down * a.phases_across):
        down = phase // a.phases_across
        across = phase - down * a.phases_across
        plane = phase * a.plane_bytes
        # Places of the phase's row: filled, then pixels first .. last - 1 of it, then filled.
        first = least(a.pitch, _inside(0, across, a.left, a.across))
        last = least(a.pitch, _inside(a.width, across, a.left, a.across))
        filled = plane
        for row in range(a.rows):
            line, place = (above + row) * a.down + down - a.top, plane + 4 * row * a.pitch
            if line < 0 or line >= a.height or last <= first:
                continue
            found = _note_fill(copies, found, filled, place + 4 * first)
            lane = image * a.x_pitch + line * a.width + first * a.across + across - a.left
            found = _find_row(a, lane, place + 4 * first, last - first, copies, found)
            # The last vector ends with padding.
            filled = read_i64(copies + _COPY * (found - 1) + 8) + 64
        found = _note_fill(copies, found, filled, plane + 4 * a.rows * a.pitch)
    return found


@inner
def lay_channel(a: Any, channel: int, y: int, copies: int, count: int) -> None:
    """All planes of a channel (of a quad of channels) to y, by the copies that were found."""
    fill, x = a.fill, a.x + channel * a.x_row
    if a.fill_at != 0:
        fill = read_u8(a.fill_at) * 0x01010101
    padding = splat_i32(fill)
    if channel >= a.present:
        for at in range(0, a.channel_bytes, 64):
            store_i32(padding, y + at)
    elif a.across == 1:
        for copy in range(copies, copies + _COPY * count, _COPY):
            numbers = load_i32(x + read_i64(copy))
            store_i32(_first_of(numbers, padding, read_i64(copy + 16)), y + read_i64(copy + 8))
    elif a.across == 2:
        for copy in range(copies, copies + _COPY * count, _COPY):
            numbers = _load_evens(x + read_i64(copy))
            store_i32(_first_of(numbers, padding, read_i64(copy + 16)), y + read_i64(copy + 8))
    else:
        for copy in range(copies, copies + _COPY * count, _COPY):
            store_i32(padding, y + read_i64(copy + 8))
            for at in range(read_i64(copy + 16)):
                number = read_i32(x + read_i64(copy) + 4 * at * a.across)
                write_i32(number, y + read_i64(copy + 8) + 4 * at)


@kernel("planes")
def to_planes(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is one channel, or quad of channels, of one image."""
    a = planes_of(args)
    last, count = -1, 0
    for tile in range(tile_begin, tile_end):
        image = tile // a.channels
        if image != last:
            count = find_band(a, image, a.above, scratch)
            last = image
        lay_channel(a, tile - image * a.channels, a.y + tile * a.channel_bytes, scratch, count)
