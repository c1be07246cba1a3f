"""float32 as pairs of bfloat16: from images as ONNX has them, and from lane panels (the record is that of lanes.py).

x [channel][lane]    =>    y [pair of channels][lane][2]        of an odd last channel the other half is zero
"""

from __future__ import annotations

import numpy as np

from engine.jit import kernel
from engine.kernels.bf16_planes.split import pair_of
from engine.kernels.convolution.lanes import lane_address, pixels_of
from engine.kernels.simd.arithmetic import splat_f32
from engine.kernels.simd.memory import load_f32, store_i32


@kernel("pixels_to_pairs", "1x16")
def to_pairs(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is sixteen pixels of an image. Of x whole vectors are read: tensors have room for one at their end."""
    a = pixels_of(args)
    vectors = a.y_pitch // 16
    for tile in range(tile_begin, tile_end):
        image = tile // vectors
        pixel = 16 * (tile - image * vectors)
        x = lane_address(a.x_base, a.x_panel, a.x_width, image * a.x_pitch + pixel)
        y = lane_address(a.y_base, a.y_panel, a.y_width, image * a.y_pitch + pixel)
        for _ in range(a.channels // 2):
            store_i32(pair_of(load_f32(x), load_f32(x + a.x_row)), y)
            x += 2 * a.x_row
            y += a.y_row
        if a.channels % 2 != 0:
            store_i32(pair_of(load_f32(x), splat_f32(np.float32(0))), y)
