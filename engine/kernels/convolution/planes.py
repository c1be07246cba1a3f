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
from engine.kernels.convolution.lanes import lane_address
from engine.kernels.layout import VECTOR_LANES
from engine.kernels.simd.arithmetic import least, splat_i32
from engine.kernels.simd.memory import load_i32, load_vector, read_i32, read_u8, store_i32, write_i32

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
        """Numbers from one row of a plane to the next."""
        return self.result[1] + self.reach(1)

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
        )
    ],
    align=True,
)
planes_of = record(PLANES)


@inner
def _filled(y: int, count: int, fill: int) -> None:
    """The same number, and up to fifteen more behind."""
    for at in range(0, count, 16):
        store_i32(splat_i32(fill), y + 4 * at)


def _evens(b: ir.IRBuilder, address: Any) -> Any:
    first, second = (
        load_vector(b, b.add(address, ir.Constant(ir.IntType(64), at)), I32.llvm_type) for at in (0, 60)
    )
    index = [*range(0, 16, 2), *range(17, 32, 2)]
    mask = ir.Constant(ir.VectorType(ir.IntType(32), 16), index)
    return b.shuffle_vector(first, second, mask)


# Every other of 31 numbers: the second vector begins one early, so that nothing beyond the last of them is read.
_load_evens = instruction(I32, ("i64",), _evens)


@inner
def _copy(x: int, y: int, count: int, step: int) -> None:
    """`count` numbers, `step` apart, one after another; up to fifteen more are written behind them.

    Numbers that lie together are read by whole vectors, as tensors have room for one at their end.
    """
    done = 0
    if step == 1:
        for at in range(0, count, 16):
            store_i32(load_i32(x + 4 * at), y + 4 * at)
        done = count
    elif step == 2:
        done = count // 16 * 16
        for at in range(0, done, 16):
            store_i32(_load_evens(x + 8 * at), y + 4 * at)
    for at in range(done, count):
        write_i32(read_i32(x + 4 * at * step), y + 4 * at)


@inner
def _copy_lanes(a: Any, x: int, lane: int, y: int, count: int) -> None:
    """The same from lane `lane` on of the row at x, panel after panel."""
    step, done = a.across, 0
    while done < count:
        room = a.x_width - lane % a.x_width
        run = least((room + step - 1) // step, count - done)
        _copy(lane_address(x, a.x_panel, a.x_width, lane), y + 4 * done, run, step)
        done += run
        lane += run * step


@inner
def _inside(size: int, phase: int, begin: int, step: int) -> int:
    """How many places of a phase come before the pixel `size` of the image."""
    before = size + begin - phase + step - 1
    return before // step if before > 0 else 0


@inner
def _phase(a: Any, x: int, lane: int, y: int, down: int, across: int, fill: int) -> None:
    # Places of the phase's row: filled, then pixels first .. last - 1 of it, then filled.
    first = least(a.pitch, _inside(0, across, a.left, a.across))
    last = least(a.pitch, _inside(a.width, across, a.left, a.across))
    for row in range(a.rows):
        line, place = row * a.down + down - a.top, y + 4 * row * a.pitch
        if line < 0 or line >= a.height:
            _filled(place, a.pitch, fill)
            continue
        _filled(place, first, fill)
        source = lane + line * a.width + first * a.across + across - a.left
        _copy_lanes(a, x, source, place + 4 * first, last - first)
        _filled(place + 4 * last, a.pitch - last, fill)
    _filled(y + 4 * a.rows * a.pitch, 64, fill)


@inner
def lay_channel(a: Any, image: int, channel: int, y: int) -> None:
    """All planes of a channel (of a quad of channels) to y."""
    fill = a.fill
    if a.fill_at != 0:
        fill = read_u8(a.fill_at) * 0x01010101
    for down in range(a.phases_down):
        for across in range(a.phases_across):
            place = y + (down * a.phases_across + across) * a.plane_bytes
            if channel >= a.present:
                _filled(place, a.plane_bytes // 4, fill)
                continue
            _phase(a, a.x + channel * a.x_row, image * a.x_pitch, place, down, across, fill)


@kernel("planes")
def to_planes(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is one channel, or quad of channels, of one image."""
    a = planes_of(args)
    for tile in range(tile_begin, tile_end):
        image = tile // a.channels
        channel = tile - image * a.channels
        lay_channel(a, image, channel, a.y + tile * a.channel_bytes)
