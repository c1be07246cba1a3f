"""Images as padded planes: one for each channel and phase, so that a tap of the window is an offset into one of them.

    image row          . . x x x x x x . .        padding (dots) is stored as zeros
    stride 1           one plane, `pitch` numbers a row, rows one after another
    stride 2           phase 0: x0 x2 x4 ..   phase 1: x1 x3 x5 ..       each a plane of its own, both ways

    out[pixel] += w[tap] * plane[phase of tap][pixel + offset of tap]

Pixels are counted over the flat plane: those between the image's width and the pitch are computed and dropped.
Beyond the last row are as many zeros as the last register tile reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.jit import I32, inner, instruction, ir, kernel, record
from engine.kernels.layout import VECTOR_LANES
from engine.kernels.simd.arithmetic import least, splat_i32
from engine.kernels.simd.memory import load_i32, load_vector, read_i32, store_i32, write_i32

# Pixels of a register tile.
TILE = 64

Pair = tuple[int, int]


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

    def reach(self, axis: int) -> int:
        """The largest offset of a tap, in pixels of a phase."""
        return (self.kernel[axis] - 1) * self.dilation[axis] // self.stride[axis]

    @property
    def pitch(self) -> int:
        """Numbers from one row of a plane to the next."""
        return self.result[1] + self.reach(1)

    @property
    def rows(self) -> int:
        """Rows of a plane."""
        return self.result[0] + self.reach(0)

    @property
    def tiles(self) -> int:
        """Register tiles that hold all pixels of a result."""
        return -(-self.result[0] * self.pitch // TILE)

    @property
    def plane(self) -> int:
        """Numbers of a plane, with what is read, and written by whole vectors, beyond its last row."""
        read = self.tiles * TILE + self.reach(0) * self.pitch + self.reach(1)
        return -(-max(read, self.rows * self.pitch + VECTOR_LANES) // VECTOR_LANES) * VECTOR_LANES

    @property
    def channel(self) -> int:
        """Numbers of all phases of a channel."""
        return self.plane * math.prod(self.stride)

    def offsets(self) -> list[int]:
        """Where each tap's pixel 0 lies in a channel, in numbers; taps of a row one after another."""
        found = []
        for tap in np.ndindex(self.kernel):
            down, across = (place * dilation for place, dilation in zip(tap, self.dilation, strict=True))
            phase = down % self.stride[0] * self.stride[1] + across % self.stride[1]
            place = down // self.stride[0] * self.pitch + across // self.stride[1]
            found.append(phase * self.plane + place)
        return found


PLANES = np.dtype(
    [
        (name, np.int64)
        for name in (
            "x",  # float32 [images * channels][height][width]
            "y",  # planes
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
        )
    ],
    align=True,
)
planes_of = record(PLANES)


@inner
def _zeros(y: int, count: int) -> None:
    """Zeros, and up to fifteen more behind them."""
    for at in range(0, count, 16):
        store_i32(splat_i32(0), y + 4 * at)


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
def _inside(size: int, phase: int, begin: int, step: int) -> int:
    """How many places of a phase come before the pixel `size` of the image."""
    before = size + begin - phase + step - 1
    return before // step if before > 0 else 0


@kernel("planes_f32")
def to_planes(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is one channel of one image."""
    a = planes_of(args)
    for tile in range(tile_begin, tile_end):
        image = a.x + tile * a.height * a.width * 4
        for down in range(a.down):
            for across in range(a.across):
                y = a.y + tile * a.channel_bytes + (down * a.across + across) * a.plane_bytes
                # Places of the phase's row: zeros, then pixels first .. last - 1 of it, then zeros.
                first = least(a.pitch, _inside(0, across, a.left, a.across))
                last = least(a.pitch, _inside(a.width, across, a.left, a.across))
                for row in range(a.rows):
                    line, place = row * a.down + down - a.top, y + 4 * row * a.pitch
                    if line < 0 or line >= a.height:
                        _zeros(place, a.pitch)
                        continue
                    _zeros(place, first)
                    source = image + 4 * (line * a.width + first * a.across + across - a.left)
                    _copy(source, place + 4 * first, last - first, a.across)
                    _zeros(place + 4 * last, a.pitch - last)
                # The plane's own end: what is behind it is another member's. The first vector is one that was written.
                end = y + a.plane_bytes
                for at in range(end - (a.plane_bytes - 4 * a.rows * a.pitch) // 64 * 64, end, 64):
                    store_i32(splat_i32(0), at)
                _zeros(y + 4 * a.rows * a.pitch, 1)
