"""Direct convolution: a dense product whose step of k finds its pixels at an offset.

    step k = (channel, tap)      x = plane + offsets[k] + pixel        w = strip[k][12]

Register tiles, strips and their packing are those of products/strips.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.jit import kernel
from engine.kernels.convolution.arguments import convolution_of, finish_pixels
from engine.kernels.convolution.planes import TILE
from engine.kernels.products.arguments import strip_and_panel
from engine.kernels.products.strips import STREAM_AHEAD, STRIP, pack_f32, tile_shape, unpack_f32
from engine.kernels.row import Array, PackedWeights, aligned
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import prefetch, read_i32
from engine.kernels.simd.tile import tile_operations

_SHAPE = tile_shape(TILE)
_ROWS, _LANE_BYTES, _STRIP_BYTES, _ROW_BYTES = _SHAPE.rows, 64 * _SHAPE.vectors, 4 * STRIP, 4 * TILE
_TILE = tile_operations(_SHAPE.rows, _SHAPE.vectors, "f32")
_zero, _step, _save = _TILE.zero, _TILE.step, _TILE.save
# Results leave by whole vectors: there is one beyond the last.
SCRATCH = STRIP * _ROW_BYTES + 64


def pack_groups(w: Array, groups: int) -> PackedWeights:
    """float32 w[m, channels of a group, *kernel]: the strips of each group one after another."""
    m, k = len(w), int(np.prod(w.shape[1:]))
    parts = [pack_f32(part.reshape(m // groups, k)) for part in np.split(w, groups)]
    entries = aligned((groups * parts[0].strips, k, STRIP), np.float32)
    for i, part in enumerate(parts):
        entries[i * part.strips : (i + 1) * part.strips] = part.entries
    nonzeros = sum(part.nonzeros for part in parts)
    return PackedWeights(entries, aligned(0, np.int32), m, k, len(entries), STRIP, nonzeros)


def unpack_groups(packed: PackedWeights, groups: int) -> Array:
    """The weights as [m, k]."""
    rows, strips = packed.m // groups, packed.strips // groups
    split: Sequence[Array] = np.split(packed.entries, groups)
    made = [PackedWeights(part, packed.index, rows, packed.k, strips, STRIP, 0) for part in split]
    return np.concatenate([unpack_f32(part) for part in made])


@kernel("convolution_f32", f"{_SHAPE.rows}x{16 * _SHAPE.vectors}")
def convolve(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is a strip of results by 64 pixels."""
    a = convolution_of(args)
    for index in range(tile_begin, tile_end):
        strip, panel = strip_and_panel(a, index)
        group, image = strip // a.group_strips, panel // a.image_panels
        first = (panel - image * a.image_panels) * TILE
        plane = a.x + image * a.image_bytes + group * a.group_bytes + 4 * first
        for row in range(0, STRIP, _ROWS):
            for lane in range(0, _ROW_BYTES, _LANE_BYTES):
                x, w, offset = plane + lane, a.w + strip * a.k * _STRIP_BYTES + 4 * row, a.offsets
                sums = _zero()
                for _ in range(a.k // 2):
                    prefetch(w + STREAM_AHEAD)
                    prefetch(w + STREAM_AHEAD + 64)
                    sums = _step(sums, w, 4, x + read_i32(offset))
                    sums = _step(sums, w + _STRIP_BYTES, 4, x + read_i32(offset + 4))
                    w += 2 * _STRIP_BYTES
                    offset += 8
                if a.k % 2 != 0:
                    sums = _step(sums, w, 4, x + read_i32(offset))
                _save(sums, scratch + row * _ROW_BYTES + lane, _ROW_BYTES)
        begin = (strip - group * a.group_strips) * STRIP
        for row in range(least(STRIP, a.group_rows - begin)):
            channel = group * a.group_rows + begin + row
            finish_pixels(a, scratch + row * _ROW_BYTES, channel, image, first, TILE)
