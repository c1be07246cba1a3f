"""Depthwise convolution: every result sees one channel, so a row of taps is all its weights.

tap   w broadcast  x  plane + offsets[tap] + pixel        64 pixels in flight, taps one after another
"""

from __future__ import annotations

from engine.jit import active_level, kernel
from engine.kernels.convolution.arguments import convolution_of, finish_pixels
from engine.kernels.convolution.planes import TILE
from engine.kernels.simd.memory import read_i32
from engine.kernels.simd.tile import tile_operations

# Sums, one load and a broadcast must fit the registers.
_VECTORS = 4 if active_level().registers * active_level().width > 16 * 16 else 2
_TILE = tile_operations(1, _VECTORS, "f32")
_zero, _step, _save = _TILE.zero, _TILE.step, _TILE.save
_LANE_BYTES = 64 * _VECTORS
# Results leave by whole vectors: there is one beyond the last.
SCRATCH = 4 * TILE + 64


@kernel("convolution_depthwise_f32", f"1x{16 * _VECTORS}")
def convolve_depthwise(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is one result of one image."""
    a = convolution_of(args)
    for tile in range(tile_begin, tile_end):
        image = tile // a.m
        channel = tile - image * a.m
        plane = a.x + image * a.image_bytes + channel // a.group_rows * a.group_bytes
        weights = a.w + 4 * channel * a.k
        for first in range(0, a.height * a.pitch, TILE):
            for lane in range(0, 4 * TILE, _LANE_BYTES):
                x = plane + 4 * first + lane
                sums = _zero()
                for tap in range(a.k):
                    sums = _step(sums, weights + 4 * tap, 4, x + read_i32(a.offsets + 4 * tap))
                _save(sums, scratch + lane, 4 * TILE)
            finish_pixels(a, scratch, channel, image, first, TILE)
